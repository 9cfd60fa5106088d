"""Predicts what a trained network was trained to, of new inputs."""
