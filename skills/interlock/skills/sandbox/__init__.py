"""Isolation of a run on Linux, without privileges: rlimits, Landlock, seccomp, capabilities dropped (agents.md)."""
