"""Another reward for children that were recorded: what it is made of, and what they have then."""
