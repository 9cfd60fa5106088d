"""Tests of nasrunner.study."""
