"""Protocols over many classes, models and seeds: one result file a cell, and what they say."""
