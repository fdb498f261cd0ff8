"""CLIP models: loading, features, classifiers, edits and saving."""
