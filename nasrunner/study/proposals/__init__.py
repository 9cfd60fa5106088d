"""What a study does with a proposal before it is trained: check, name, count and hold it back."""
