/* Stands for the driver's own header; @CHANGED@ changes the version of a symbol. */
#define NVIDIA_P2P_DMA_MAPPING_VERSION 0x00010003

struct nvidia_p2p_page_table {
	u32 version;
	@CHANGED@ entries;
};
struct nvidia_p2p_dma_mapping {
	u32 version;
};

int nvidia_p2p_get_pages(u64 token, u32 space, u64 address, u64 length,
			 struct nvidia_p2p_page_table **table, void (*freed)(void *), void *data);
int nvidia_p2p_put_pages(u64 token, u32 space, u64 address, struct nvidia_p2p_page_table *table);
int nvidia_p2p_dma_map_pages(struct pci_dev *peer, struct nvidia_p2p_page_table *table,
			     struct nvidia_p2p_dma_mapping **mapping);
int nvidia_p2p_dma_unmap_pages(struct pci_dev *peer, struct nvidia_p2p_page_table *table,
			       struct nvidia_p2p_dma_mapping *mapping);
