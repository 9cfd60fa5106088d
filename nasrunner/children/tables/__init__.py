"""Children that were trained before: a benchmark's table."""
