"""One network instead of thousands: weights that all architectures of a space share."""
