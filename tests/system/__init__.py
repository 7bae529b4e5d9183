"""Tests of playbooks and roles on lab nodes, a folder for each component, and what they share."""
