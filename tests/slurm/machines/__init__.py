"""What the SLURM of the tests consists of: its daemons, their files, ports and disks."""
