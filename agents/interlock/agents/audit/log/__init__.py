"""The audit log: what every stream held, chained, in one Merkle tree, with signed checkpoints (AUD-01)."""
