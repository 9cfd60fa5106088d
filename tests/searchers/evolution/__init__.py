"""Tests of nasrunner.searchers.evolution."""
