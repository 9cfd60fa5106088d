"""Zero-cost proxies: scores of networks that nobody has trained, from one batch of the data."""
