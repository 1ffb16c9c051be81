"""Fewer points that look the same: of each stretch its least and its greatest, so that no peak is lost."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]


def downsampled(x: Numbers, y: Numbers, most: int) -> tuple[Numbers, Numbers]:
    """At most so many points of a curve.

    Args:
        x: where they are, growing.
        y: their values; of NaN only those that fill a whole stretch are kept.
        most: how many points, at least 4.
    """
    count = len(y)
    if count <= most:
        return x, y
    stretches = most // 2
    edges = np.linspace(0, count, stretches + 1).astype(np.intp)
    picked: list[Any] = []
    for start, end in itertools.pairwise(edges):
        part = y[start:end]
        finite = np.flatnonzero(np.isfinite(part))
        if not finite.size:
            picked.append(start)
            continue
        low, high = finite[np.argmin(part[finite])], finite[np.argmax(part[finite])]
        picked += sorted({start + low, start + high})
    return x[picked], y[picked]
