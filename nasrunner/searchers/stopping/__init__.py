"""Searchers around another searcher that stop its children while they train."""
