"""Controllers that policy gradients train."""
