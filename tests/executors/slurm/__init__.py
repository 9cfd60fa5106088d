"""Tests of nasrunner.executors.slurm."""
