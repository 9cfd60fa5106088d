"""Tests of nasrunner.children.tables."""
