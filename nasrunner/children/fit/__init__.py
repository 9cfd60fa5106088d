"""One child's training, from its data to its outcome."""
