"""The published algorithm against ours, side by side in one process, and what a machine can do."""
