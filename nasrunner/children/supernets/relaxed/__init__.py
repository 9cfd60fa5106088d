"""Supernets that hold all options of a space at once, and learn how much each counts."""
