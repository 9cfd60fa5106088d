"""Tests of nasrunner.spaces.recurrent."""
