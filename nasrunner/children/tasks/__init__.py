"""What a child's outputs mean, and how its reward comes from them."""
