"""Policy: Rego over the facts of a hop, judged in a child that can be killed (governance.md, Policy; ADR 0007)."""
