"""Searches and their results in Python and notebooks: ``nasrunner.search`` and ``load``."""
