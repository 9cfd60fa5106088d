"""Tests of nasrunner.compose."""
