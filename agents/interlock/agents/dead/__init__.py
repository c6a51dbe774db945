"""Dead letters: reading them, and putting them back once the cause is mended."""
