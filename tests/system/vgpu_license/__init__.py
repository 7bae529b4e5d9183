"""Licences of vGPUs on lab nodes."""
