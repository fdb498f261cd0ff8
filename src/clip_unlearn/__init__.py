"""Unlearn a class from a CLIP model, given its name alone."""
