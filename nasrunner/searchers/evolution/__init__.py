"""Searchers that change what was good: evolution and local search."""
