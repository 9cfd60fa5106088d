"""Tests of nasrunner.spaces.pictures."""
