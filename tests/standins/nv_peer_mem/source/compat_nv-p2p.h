/* Stands for the header of 2011, which knows no DMA mappings. */
struct nvidia_p2p_page_table;
int nvidia_p2p_get_pages(u64 token, u32 space, u64 address, u64 length,
			 struct nvidia_p2p_page_table **table, void (*freed)(void *), void *data);
int nvidia_p2p_put_pages(u64 token, u32 space, u64 address, struct nvidia_p2p_page_table *table);
