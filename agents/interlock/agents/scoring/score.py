"""All ten criteria, in order."""

from __future__ import annotations

from collections.abc import Sequence

from interlock.agents.scoring.accuracy import accuracy
from interlock.agents.scoring.decisions import auditability, autonomy, independence
from interlock.agents.scoring.format import completeness
from interlock.agents.scoring.governance import approvals, compliance
from interlock.agents.scoring.hour import lived
from interlock.agents.scoring.model import Score
from interlock.agents.scoring.responsiveness import responsiveness
from interlock.agents.scoring.rollback import rollback
from interlock.agents.scoring.safety import safety
from interlock.skills.infrastructure.blueprint.directory import Service


def score(services: Sequence[Service]) -> list[Score]:
    """services: right ones only. Takes some seconds: every service lives an hour, a cluster is started and ended."""
    subjects = [lived(s.blueprint, s.policies) for s in services if s.blueprint is not None]
    found = [
        completeness(subjects),
        accuracy(),
        autonomy(subjects),
        compliance(subjects),
        auditability(subjects),
        independence(subjects),
        approvals(subjects),
        safety(subjects),
        rollback(subjects),
        responsiveness(subjects),
    ]
    return sorted(found, key=lambda entry: entry.criterion)
