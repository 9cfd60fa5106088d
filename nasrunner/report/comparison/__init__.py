"""Several studies on a page: which search is ahead, by how much, and at what cost."""
