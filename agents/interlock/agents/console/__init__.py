"""The web console: reads what the bus holds, and signs what its human asks for with that human's key (OPS-05)."""
