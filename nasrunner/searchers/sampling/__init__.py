"""Searchers that draw or count: at random, in order, down a tree."""
