"""How many replicas a target utilisation asks for: the documented arithmetic of the HorizontalPodAutoscaler, in exact
fractions (kubernetes.io, Horizontal Pod Autoscaling, Algorithm details).
"""

from __future__ import annotations

from fractions import Fraction
from math import ceil

from interlock.skills.infrastructure.decision.utilisation import Utilisation


def replicas_for_target(current: int, seen: Utilisation, target: Fraction, tolerance: Fraction) -> int:
    """desired = ceil(pods x utilisation / target); current where the ratio is within the tolerance around 1.

    A ratio above 1 is taken again with the low figure, one below 1 with the high figure; if that brings it back over 1 or
    into the tolerance, nothing changes. The direction of the ratio is never turned round by the count of pods.
    """
    ratio = seen.measured / target
    if ratio > 1:
        pods, ratio = seen.counted + seen.missing + seen.not_ready, seen.low / target
        return max(current, ceil(pods * ratio)) if ratio > 1 + tolerance else current
    pods, ratio = seen.counted + seen.missing, seen.high / target
    return min(current, ceil(pods * ratio)) if ratio < 1 - tolerance else current
