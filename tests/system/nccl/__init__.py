"""The meeting of hosts, on lab nodes."""
