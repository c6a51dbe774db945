"""Approvals: asking humans, counting their decisions, using each once."""
