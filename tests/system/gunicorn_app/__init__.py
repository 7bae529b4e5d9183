"""Applications on lab nodes."""
