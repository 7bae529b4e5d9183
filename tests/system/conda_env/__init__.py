"""Conda environments on lab nodes."""
