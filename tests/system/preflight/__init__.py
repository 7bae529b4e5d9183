"""Facts, plan and refusals of lab nodes."""
