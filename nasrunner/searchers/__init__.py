"""Searchers: each is a policy for ``choose``, in a file of its own with a YAML of its name."""
