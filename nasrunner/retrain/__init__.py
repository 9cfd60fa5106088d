"""Trains the best children of a study again, and tests each once."""
