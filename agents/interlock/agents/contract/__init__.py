"""The workspace contract: kept on disk and in KV, followed by every role, asked at intake (GOV-08, GOV-09)."""
