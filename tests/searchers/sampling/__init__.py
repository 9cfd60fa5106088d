"""Tests of nasrunner.searchers.sampling."""
