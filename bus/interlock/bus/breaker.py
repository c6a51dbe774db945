"""Circuit breakers, per (role, skill) and per target (BUS-06). A pure state machine: the time is an argument."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

State = Literal["closed", "open", "half_open"]


class BreakerSettings(Struct, frozen=True, kw_only=True):
    """After `failures` in a row the circuit opens for open_ms, then one trial is let through; failures 0: off."""

    failures: int = 5
    open_ms: int = 30_000


class Breaker(Struct, frozen=True):
    """One circuit. Each allowed call is answered: a success closes it, a failure is `failed`."""

    state: State = "closed"
    failures: int = 0
    opened_ms: int = 0

    def ask(self, settings: BreakerSettings, now_ms: int) -> tuple[bool, Breaker]:
        """Whether a call may be made now, and the circuit after asking. A half-open circuit admits one trial."""
        if settings.failures <= 0 or self.state == "closed":
            return True, self
        if self.state == "open" and now_ms - self.opened_ms >= settings.open_ms:
            return True, Breaker("half_open", self.failures, now_ms)
        if self.state == "half_open" and now_ms - self.opened_ms >= settings.open_ms:
            return True, Breaker("half_open", self.failures, now_ms)  # the trial never reported back
        return False, self

    def failed(self, settings: BreakerSettings, now_ms: int) -> Breaker:
        failures = self.failures + 1
        if self.state == "half_open" or (settings.failures > 0 and failures >= settings.failures):
            return Breaker("open", failures, now_ms)
        return Breaker(self.state, failures, self.opened_ms)


CLOSED = Breaker()


class Breakers:
    """Circuits by key; those that nothing speaks against are not kept."""

    def __init__(self, settings: BreakerSettings) -> None:
        self._settings = settings
        self._circuits: dict[str, Breaker] = {}

    def allows(self, key: str, now_ms: int) -> bool:
        circuit = self._circuits.get(key)
        if circuit is None:
            return True
        allowed, self._circuits[key] = circuit.ask(self._settings, now_ms)
        return allowed

    def report(self, key: str, *, succeeded: bool, now_ms: int) -> None:
        if succeeded:
            self._circuits.pop(key, None)
        else:
            self._circuits[key] = self._circuits.get(key, CLOSED).failed(self._settings, now_ms)
