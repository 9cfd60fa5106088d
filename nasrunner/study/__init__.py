"""The study: its loop, its rules, its ledger and what it has seen."""
