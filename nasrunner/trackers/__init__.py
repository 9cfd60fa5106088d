"""Record studies for people: MLflow, a table, several at once, and the terminal."""
