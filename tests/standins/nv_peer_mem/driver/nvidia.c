// SPDX-License-Identifier: GPL-2.0
// Stands for the driver's module: it exports what nv_peer_mem imports, and does nothing.
#include <linux/module.h>
#include <linux/pci.h>
#include "nvidia/nv-p2p.h"

MODULE_LICENSE("@LICENSE@");
MODULE_VERSION("@VERSION@");

int nvidia_p2p_get_pages(u64 token, u32 space, u64 address, u64 length,
			 struct nvidia_p2p_page_table **table, void (*freed)(void *), void *data)
{
	return -EINVAL;
}
EXPORT_SYMBOL(nvidia_p2p_get_pages);

int nvidia_p2p_put_pages(u64 token, u32 space, u64 address, struct nvidia_p2p_page_table *table)
{
	return -EINVAL;
}
EXPORT_SYMBOL(nvidia_p2p_put_pages);

int nvidia_p2p_dma_map_pages(struct pci_dev *peer, struct nvidia_p2p_page_table *table,
			     struct nvidia_p2p_dma_mapping **mapping)
{
	return -EINVAL;
}
EXPORT_SYMBOL(nvidia_p2p_dma_map_pages);

int nvidia_p2p_dma_unmap_pages(struct pci_dev *peer, struct nvidia_p2p_page_table *table,
			       struct nvidia_p2p_dma_mapping *mapping)
{
	return -EINVAL;
}
EXPORT_SYMBOL(nvidia_p2p_dma_unmap_pages);
