"""Tests of nasrunner.trackers.mlflow."""
