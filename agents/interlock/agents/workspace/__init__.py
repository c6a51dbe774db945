"""A workspace on disk: settings, keys, trust, where things are."""
