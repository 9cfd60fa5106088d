"""Recurrent cells, layers of them, and language models."""
