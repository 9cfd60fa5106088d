"""Randomness: seeds that follow from others, and draws in blocks."""
