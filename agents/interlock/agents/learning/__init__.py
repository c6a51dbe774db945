"""The synthesizer: what a finished goal teaches (ROL-06)."""
