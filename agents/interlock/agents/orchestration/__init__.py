"""The orchestrator: drives goals by folding what happened into decisions, and sends what was decided."""
