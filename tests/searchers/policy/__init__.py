"""Tests of nasrunner.searchers.policy."""
