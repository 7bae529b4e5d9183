"""What only a kernel of its own can prove, on one host under emulation."""
