"""What a training has come to, and how another goes on with it or ends before its end."""
