/* Stands for rdma/peer_mem.h of MLNX_OFED; what is between the marks is there since 5.4-3. */
#include <linux/types.h>

#define IB_PEER_MEMORY_NAME_MAX 64
#define IB_PEER_MEMORY_VER_MAX 16

struct peer_memory_client {
	char name[IB_PEER_MEMORY_NAME_MAX];
	char version[IB_PEER_MEMORY_VER_MAX];
	int (*acquire)(unsigned long address, size_t size, void *private, char *name, void **context);
};

/* since 5.4-3 */
struct peer_memory_client_ex {
	struct peer_memory_client client;
	size_t ex_size;
	u32 flags;
};
/* end */

typedef int (*invalidate_peer_memory)(void *handle, u64 context);

void *ib_register_peer_memory_client(const struct peer_memory_client *client,
				     invalidate_peer_memory *callback);
void ib_unregister_peer_memory_client(void *handle);
