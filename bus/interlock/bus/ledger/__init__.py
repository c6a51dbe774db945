"""The ledger: the authoritative balance of budgets. Reserve before the work, settle after it (bus.md, Ledger)."""
