"""What a campaign reports, and the table of all of them."""

from __future__ import annotations

from msgspec import Struct, field


class Result(Struct, frozen=True, kw_only=True):
    """amount: how often it was really done; figures: what was counted; failures: what should not have been, in words
    (at most 20); skipped: why it could not be done here, then the rest is empty.
    """

    campaign: str
    amount: int = 0
    must_be: str = ""
    figures: dict[str, float] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    skipped: str = ""
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        return not self.failures


def table(results: list[Result]) -> str:
    """A line for each campaign."""
    lines = [f"{'campaign':<12}{'amount':>8}{'seconds':>9}  {'result':<8}must be"]
    for one in results:
        told = "skipped" if one.skipped else "passed" if one.passed else "FAILED"
        lines.append(f"{one.campaign:<12}{one.amount:>8}{one.seconds:>9.1f}  {told:<8}{one.skipped or one.must_be}")
        if one.figures:
            shown = (f"{name} {value:g}" for name, value in one.figures.items())
            lines.append(f"{'':<12}{', '.join(shown)}")
        lines += [f"{'':<12}! {failure}" for failure in one.failures]
    return "\n".join(lines)
