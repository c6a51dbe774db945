"""The format in which a service's authority is written: `infra.spec-driven.io/v1`, InfrastructureBlueprint (seed 001)."""
