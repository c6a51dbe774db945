"""The command line. `main` imports only what the verb needs: a run is to show progress in a second and a half."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of `interlock`. Exits 0 done, 1 failed, 2 refused by governance or bad usage, 130 interrupted."""
    sys.exit(run(list(sys.argv[1:] if arguments is None else arguments)))


def run(arguments: list[str]) -> int:
    """Every failure a user can cause becomes one line on standard error."""
    from interlock.agents.errors import UserError
    from interlock.bus.errors import BusError

    try:
        if arguments[:1] == ["agent"] and "--help" not in arguments and "-h" not in arguments:
            from interlock.agents.cli.agent import run_agent

            return run_agent(arguments[1:])
        from interlock.agents.cli.app import dispatch

        return dispatch(arguments)
    except UserError as error:
        sys.stderr.write(f"interlock: {error}\n")
        return error.exit_code
    except BusError as error:
        sys.stderr.write(f"interlock: {error} ({error.reason})\n")
        return 1
    except BrokenPipeError:
        # Whoever read our output has gone; Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130
