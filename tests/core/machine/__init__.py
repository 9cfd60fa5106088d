"""Tests of nasrunner.core.machine."""
