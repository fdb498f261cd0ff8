"""Class names, templates and pictures; no model."""
