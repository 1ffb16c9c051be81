"""How well instants keep to a grid that nobody wrote down, knowing its period."""

from __future__ import annotations

import cmath
import math
from dataclasses import dataclass
from typing import Self

from benchmarks.figures import percentile

EARLY = 0.1
"""Ticks come late and not early: one of up to so much of a period before a deadline belongs to it, and later ones to
the deadline before."""


@dataclass(frozen=True)
class Grid:
    """What can be said of the ticks of one stream.

    The grid lies where the median tick is, so that what is common to all ticks, about the time that the system takes to
    wake a thread, does not count as distance.

    Attributes:
        due: how many deadlines there were, from the first tick to the last.
        missed: how many ticks there should have been more. Not how many deadlines have none: beside a busy thread ticks
            are on time or a switch interval late, and to which deadline one belongs is more than the instants say.
        rate_hz: of the ticks that came: how many deadlines they are apart, by how much time.
        distances_s: of each tick from its deadline.
    """

    due: int
    missed: int
    rate_hz: float
    distances_s: list[float]

    @classmethod
    def of(cls, instants: list[float], frequency_hz: float) -> Self:
        """Of at least two ticks, in order.

        Raises:
            ValueError: there are fewer.
        """
        if len(instants) < 2:
            raise ValueError(f"{len(instants)} ticks at {frequency_hz:g} Hz are no grid")
        period, first = 1 / frequency_hz, instants[0]
        # On the circle of one period: the mean direction first, so that no tick is near the cut, and then the median.
        turns = [cmath.exp(2j * math.pi * ((instant - first) % period) / period) for instant in instants]
        start = first + cmath.phase(sum(turns)) / (2 * math.pi) * period
        start += percentile([(instant - start + period / 2) % period - period / 2 for instant in instants], 50)
        indices = [math.floor((instant - start) / period + EARLY) for instant in instants]
        due = indices[-1] - indices[0] + 1
        return cls(
            due,
            max(0, due - len(instants)),
            (due - 1) / (instants[-1] - instants[0]),
            [abs(instant - start - index * period) for instant, index in zip(instants, indices, strict=True)],
        )
