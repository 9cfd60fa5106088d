"""Records studies in MLflow."""
