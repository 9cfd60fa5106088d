"""Tests of nasrunner.trackers.mlflow.stores."""
