"""The auditor: every hop verified again, on its own, from the stream; signature logs, reports, bundles (ROL-05)."""
