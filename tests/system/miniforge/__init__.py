"""Miniforge on lab nodes."""
