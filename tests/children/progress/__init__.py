"""Tests of nasrunner.children.progress."""
