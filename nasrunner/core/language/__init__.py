"""Decisions over values, as they are written in YAML."""
