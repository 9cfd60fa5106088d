"""Tests of nasrunner.children.tasks."""
