"""The entry point. `main` imports only what the verb needs: a run is to show progress in a second and a half."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from types import FrameType


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of `interlock`. Exits 0 done, 1 failed, 2 refused by governance or bad usage, 130 interrupted, 143
    ended by SIGTERM.
    """
    ended: list[int] = []

    def end(number: int, frame: FrameType | None) -> None:
        """SIGTERM ends what Ctrl-C ends, and as cleanly: the roles, the server, their files."""
        ended.append(number)
        on_interrupt = signal.getsignal(signal.SIGINT)  # asyncio's while it runs
        (on_interrupt if callable(on_interrupt) else signal.default_int_handler)(signal.SIGINT, frame)

    try:
        _heed_no_interrupt_of_others()
        signal.signal(signal.SIGTERM, end)
        code = run(list(sys.argv[1:] if arguments is None else arguments))
    except KeyboardInterrupt:  # before or after what `run` watches over
        code = 130
    sys.exit(143 if ended and code == 130 else code)


def _heed_no_interrupt_of_others() -> None:
    """A shell that starts us with & has SIGINT ignored, so that a Ctrl-C meant for another does not end us. It stays so,
    but blocked: asyncio ends its tasks in order only where the interpreter's own handler stands.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        signal.signal(signal.SIGINT, signal.default_int_handler)


def run(arguments: list[str]) -> int:
    """Every failure a user can cause becomes one line on standard error."""
    from interlock.agents.cli.output import abandon_output, prepare_output
    from interlock.agents.errors import UserError, one_line
    from interlock.bus.errors import BusError
    from interlock.skills.errors import SkillsError

    prepare_output()
    try:
        code = _verb(arguments)
        sys.stdout.flush()
        return code
    except (UserError, BusError, SkillsError) as error:
        return _told(one_line(error), error.exit_code if isinstance(error, UserError) else 1)
    except BrokenPipeError:
        abandon_output()
        return 1
    except OSError as error:
        # Whatever the system refuses (a full disk, a file taken away meanwhile) is its user's to mend.
        where = f"{error.filename}: " if error.filename else ""
        abandon_output()
        return _told(f"{where}{error.strerror or error} (system_error). See `interlock doctor`.", 1)
    except KeyboardInterrupt:
        return 130


def _verb(arguments: list[str]) -> int:
    if arguments[:1] == ["agent"] and "--help" not in arguments and "-h" not in arguments:
        from interlock.agents.cli.agent import run_agent

        return run_agent(arguments[1:])
    from interlock.agents.cli.app import dispatch

    return dispatch(arguments)


def _told(line: str, code: int) -> int:
    try:
        sys.stderr.write(f"interlock: {line}\n")
        sys.stderr.flush()
    except OSError:
        pass  # nobody reads it either
    return code
