"""Where MLflow keeps its runs on this machine: databases, and the files that these are."""
