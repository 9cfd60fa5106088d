"""Architectures as SVG pictures."""
