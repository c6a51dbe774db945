"""Budget alerts and deviations with deadlines (GOV-05, GOV-10)."""
