"""Compares recorded studies, and shows each: one page, figures and tables."""
