"""One study on a page: how it went, what it found, and what its searcher learnt."""
