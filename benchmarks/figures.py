"""Arithmetic with measured figures."""

from __future__ import annotations

import math
from collections.abc import Sequence


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many percent of all do not exceed.

    Raises:
        ValueError: there are none.
    """
    if not values:
        raise ValueError("nothing was measured")
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def median(values: Sequence[float]) -> float:
    """The one in the middle, or between the two in the middle."""
    ordered = sorted(values)
    return (percentile(ordered, 50) + ordered[len(ordered) // 2]) / 2


def spread(values: Sequence[float]) -> float:
    """From the smallest to the largest."""
    return max(values) - min(values)
