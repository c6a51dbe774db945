"""What can be wrong with a policy bundle, told before anything is judged by it."""

from __future__ import annotations

from interlock.bus.errors import BusError


class PolicyError(BusError):
    """A bundle that may not be used. reason: no_policies, policy_unreadable, policy_syntax, policy_package,
    policy_unknown_name, policy_unknown_input, policy_forbidden, policy_unknown_builtin, policy_compile, policy_failed.
    """

    def __init__(self, reason: str, detail: str, mend: str = "") -> None:
        super().__init__(detail, mend)
        self.reason = reason
