"""Suggests a queue and a first answer for support tickets."""
