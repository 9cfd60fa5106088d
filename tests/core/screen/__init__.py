"""Tests of nasrunner.core.screen."""
