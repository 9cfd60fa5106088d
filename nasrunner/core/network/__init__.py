"""What can be known of a frozen network without building it: its graph, its paths, its size."""
