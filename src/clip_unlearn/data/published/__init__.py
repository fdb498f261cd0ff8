"""The four data sets of the published protocol, in a folder on disk; no model, no network."""
