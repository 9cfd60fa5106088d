"""Cells of blocks, stacked to networks: NASNet's kind of space, and what stands in it."""
