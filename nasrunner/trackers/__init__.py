"""Record studies for people: MLflow, and the terminal."""
