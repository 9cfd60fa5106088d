"""Tests of nasrunner.retrain.training."""
