"""What the documents of a release are made of: text that is the same for the same values, on every machine."""
