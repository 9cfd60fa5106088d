"""Child trainers: what turns a genotype into a reward."""
