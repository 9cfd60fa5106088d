"""Tests of nasrunner.spaces.language."""
