"""Images of a class made from the model itself, and the sets that methods are given."""
