"""A network as one file of plain PyTorch code."""
