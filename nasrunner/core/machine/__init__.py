"""The machine: its faults, files, memory, processes and threads, and what is imported on it."""
