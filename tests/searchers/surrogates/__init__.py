"""Tests of nasrunner.searchers.surrogates."""
