"""Where children run: in the calling process, or on warm worker processes of this machine."""
