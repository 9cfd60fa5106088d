"""nasrunner: declarative, config-driven neural architecture search."""
