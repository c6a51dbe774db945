"""What goals cost, from the ledger's own entries, and to whom it is to be put down (OPS-08)."""
