"""The gateway: what a stranger may publish, checked, answered, and signed into the system (ROL-01)."""
