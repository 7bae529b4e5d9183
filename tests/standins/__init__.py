"""What stands for hardware and vendors' files, and the builders that make it for a node."""
