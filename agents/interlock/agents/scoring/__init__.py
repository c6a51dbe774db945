"""The success criteria of seed 001, SC-001 to SC-010, measured and not asserted."""
