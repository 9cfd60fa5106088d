"""Searchers that sample or enumerate: random, exhaustive, tree search."""
