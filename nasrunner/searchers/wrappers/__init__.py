"""Searchers around another searcher, whose proposals they take and pass on in their own way."""
