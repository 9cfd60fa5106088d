"""A SLURM job for each child, over submitit."""
