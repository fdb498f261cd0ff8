"""The published algorithm written plainly, one thing after another: slow, and the truth for tests.

It shares the settings, the model family's facts and nothing of the arithmetic with the fast one.
Never slowed on purpose: method by method this is what the published code does.
"""
