"""What people read: sentences, commands, and what a terminal shows."""
