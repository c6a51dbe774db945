"""`python -m interlock.agents` is `interlock`."""

from interlock.agents.cli import main

main()
