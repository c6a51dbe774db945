"""Reads any third-party source tree without trusting it: nothing is executed, followed or read without a bound."""
