"""Predicts the targets of new inputs with a trained network."""
