"""What a model still knows, measured on real pictures, whoever changed it and however."""
