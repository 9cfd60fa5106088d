"""Networks of a finished search, trained anew and tested once: what workers are given."""
