"""The driver on lab nodes."""
