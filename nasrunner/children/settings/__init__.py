"""What a child is trained with: Lightning's arguments and ours, schedules, searched settings."""
