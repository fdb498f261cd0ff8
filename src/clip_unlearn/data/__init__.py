"""Class names, tasks and pictures; no model."""
