"""Attacks that try to bring a forgotten class back, and what they say together."""
