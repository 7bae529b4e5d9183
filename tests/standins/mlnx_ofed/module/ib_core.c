// SPDX-License-Identifier: GPL-2.0
#include <linux/module.h>
#include <rdma/peer_mem.h>

int mlx_compat_there(void);

void *ib_register_peer_memory_client(const struct peer_memory_client *client,
				     invalidate_peer_memory *callback)
{
	return mlx_compat_there() ? (void *)client : NULL;
}
EXPORT_SYMBOL(ib_register_peer_memory_client);

void ib_unregister_peer_memory_client(void *handle)
{
}
EXPORT_SYMBOL(ib_unregister_peer_memory_client);

int ib_register_client(void)
{
	return 0;
}
EXPORT_SYMBOL(ib_register_client);

int ib_register_device(void)
{
	return 0;
}
EXPORT_SYMBOL(ib_register_device);

MODULE_LICENSE("GPL");
MODULE_VERSION("@OFED@");
