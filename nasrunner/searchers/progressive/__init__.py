"""Searchers that grow architectures, from the smallest to the largest."""
