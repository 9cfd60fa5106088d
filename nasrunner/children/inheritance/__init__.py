"""What a network begins with of other networks' weights: by keys, or widened and deepened."""
