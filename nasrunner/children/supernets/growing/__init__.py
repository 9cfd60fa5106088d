"""Supernets of a child and parts beside it, of which some join the child."""
