"""The command line: `main` is the entry point of `interlock`."""

from interlock.agents.cli.entry import main, run

__all__ = ["main", "run"]
