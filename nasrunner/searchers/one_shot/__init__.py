"""Searchers that train one network which holds all of the space, and look for the best in it."""
