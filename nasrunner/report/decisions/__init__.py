"""What a study decided: which options were proposed, how they did, and which decisions matter."""
