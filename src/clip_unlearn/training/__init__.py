"""How the embedded models were made: ``python -m clip_unlearn.training NAME``."""
