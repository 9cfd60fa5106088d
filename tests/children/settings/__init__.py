"""Tests of nasrunner.children.settings."""
