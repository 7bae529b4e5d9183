"""Peer memory on lab nodes."""
