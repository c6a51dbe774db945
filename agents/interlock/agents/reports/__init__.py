"""Reports of the production rhythm, made from the log alone: cost, attestation, carbon, compliance, brief (AUD-06…09)."""
