"""``python -m nasrunner``: the command ``nasrunner``."""

from nasrunner.entry import search

if __name__ == "__main__":
    search()
