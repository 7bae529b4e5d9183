// SPDX-License-Identifier: GPL-2.0
// Stands for nv_peer_mem: it imports what that does, and registers a client that does nothing.
#include <linux/module.h>
#include <linux/pci.h>
#include "nv-p2p.h"
#include <rdma/peer_mem.h>

#define DRV_VERSION	"@TAG@"

MODULE_LICENSE("Dual BSD/GPL");
MODULE_VERSION(DRV_VERSION);

static void *handle;
static int ready = 1;
module_param(ready, int, 0);

static int acquire(unsigned long address, size_t size, void *private, char *name, void **context)
{
	struct nvidia_p2p_page_table *table = NULL;
#ifdef NVIDIA_P2P_DMA_MAPPING_VERSION
	struct nvidia_p2p_dma_mapping *mapping = NULL;

	if (nvidia_p2p_dma_map_pages(NULL, table, &mapping))
		return 0;
	nvidia_p2p_dma_unmap_pages(NULL, table, mapping);
#endif
	if (!ready || nvidia_p2p_get_pages(0, 0, address, size, &table, NULL, NULL))
		return 0;
	nvidia_p2p_put_pages(0, 0, address, table);
	return 1;
}

#ifdef NEEDS_CLIENT_EX
static struct peer_memory_client_ex client = {
	.client = { .name = "nv_mem", .version = DRV_VERSION, .acquire = acquire },
	.ex_size = sizeof(client),
};
#define CLIENT	(&client.client)
#else
static struct peer_memory_client client = {
	.name = "nv_mem", .version = DRV_VERSION, .acquire = acquire,
};
#define CLIENT	(&client)
#endif

static int __init start(void)
{
	invalidate_peer_memory invalidate;

	handle = ib_register_peer_memory_client(CLIENT, &invalidate);
	return handle ? 0 : -EINVAL;
}

static void __exit stop(void)
{
	ib_unregister_peer_memory_client(handle);
}

module_init(start);
module_exit(stop);
