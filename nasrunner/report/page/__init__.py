"""What pages are made of: sections, figures and their style, HTML, and the files they become."""
