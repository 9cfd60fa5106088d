"""What a study's supernet learnt, for its page."""
