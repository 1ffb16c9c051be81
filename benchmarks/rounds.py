"""A run: one short round of every contender, workload by workload, then the next round."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.contenders import BARE, OURS
from benchmarks.results import Results
from benchmarks.session import FailedError, introduce, measure
from benchmarks.workloads.workload import Workload

Progress = Callable[[str, int, int], object]


def present(names: Sequence[str], results: Results) -> list[str]:
    """Those contenders that can take part; the others are noted, with the reason."""
    for name in names:
        said = introduce(name)
        if "absent" in said:
            results.left_out[name] = said["absent"]
        else:
            results.contenders[name] = said
    return list(results.contenders)


def run(workloads: Sequence[Workload], contenders: Sequence[str], results: Results, progress: Progress) -> None:
    """Measure everything, into `results`. `progress` hears what is done next, how much is done, and of how much."""
    names = present(contenders, results)
    cells = [
        (workload, name)
        for workload in workloads
        if not workload.pinned or hasattr(os, "sched_setaffinity")
        for name in names
        if workload.needs in results.contenders[name]["can"] and (workload.peers or name in (OURS, BARE))
    ]
    rounds = [[cell for cell in cells if number == 0 or not cell[0].once] for number in range(results.rounds)]
    done, total = 0, sum(map(len, rounds))
    for number, turns in enumerate(rounds):
        results.note_load()
        for workload, name in turns:
            progress(f"{workload.name}: {name}", done, total)
            done += 1
            try:
                results.add(workload.name, name, measure(workload, name, results.share))
            except FailedError as error:
                results.failures.append(_failure(workload, name, number, error))
    results.note_load()
    progress("done", total, total)


def _failure(workload: Workload, contender: str, round_number: int, error: FailedError) -> dict[str, Any]:
    return {"workload": workload.name, "contender": contender, "round": round_number, "error": str(error)}
