"""Feature flags: evaluated from a file, asked for through OpenFeature (GOV-11)."""
