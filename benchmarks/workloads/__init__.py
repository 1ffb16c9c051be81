"""What is measured: each file is one family of workloads, with a table `WORKLOADS` of those that it has.

All have the face in `workload`. Who does the work is in `benchmarks.contenders`, not here; nothing here knows one.
"""

from __future__ import annotations

from typing import Final

from benchmarks.workloads import (
    arrays,
    calls,
    clients,
    frames,
    hops,
    kilohertz,
    memory,
    small_samples,
    start,
    streams,
    subscribers,
)
from benchmarks.workloads.workload import Workload

_FAMILIES: Final = (
    calls,
    clients,
    arrays,
    kilohertz,
    streams,
    frames,
    small_samples,
    subscribers,
    hops,
    start,
    memory,
)
_ALL: Final[list[Workload]] = [workload for family in _FAMILIES for workload in family.WORKLOADS]
WORKLOADS: Final = {workload.name: workload for workload in _ALL}
