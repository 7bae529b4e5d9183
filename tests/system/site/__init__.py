"""The main job and the other playbooks on lab nodes, with all components that belong to it."""
