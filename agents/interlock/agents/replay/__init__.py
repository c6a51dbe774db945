"""Replay: recorded goals through today's code, every decision compared (AUD-04)."""
