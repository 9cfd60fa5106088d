"""What is tried before a study's first child."""
