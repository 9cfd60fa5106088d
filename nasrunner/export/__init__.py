"""Writes a trained child so that it lives without nasrunner."""
