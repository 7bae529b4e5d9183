"""The RDMA stack on lab nodes."""
