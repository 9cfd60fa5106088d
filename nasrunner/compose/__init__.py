"""From configuration to a study: composed, checked, saved, read again, built."""
