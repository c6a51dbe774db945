"""Halts: signed orders, what they stop, and how every actor hears of them within a second (GOV-07)."""
