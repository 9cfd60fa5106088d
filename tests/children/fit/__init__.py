"""Tests of nasrunner.children.fit."""
