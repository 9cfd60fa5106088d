"""Tests of what is known of networks without building them."""
