"""Sequential model-based optimisation: surrogates, acquisitions and candidates."""
