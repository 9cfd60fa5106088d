"""Tests of what is in the package, and of how it is tested."""
