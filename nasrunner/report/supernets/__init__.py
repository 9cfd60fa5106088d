"""What a study's supernets learnt, and how right their shared weights were."""
