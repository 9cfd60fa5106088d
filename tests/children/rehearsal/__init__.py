"""Tests of nasrunner.children.rehearsal."""
