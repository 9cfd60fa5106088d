"""Tests of nasrunner.executors.dask."""
