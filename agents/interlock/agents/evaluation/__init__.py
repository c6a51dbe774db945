"""The evaluator: risk, injection checks, plan review, verification of every result."""
