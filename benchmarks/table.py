"""The figures of one workload as a table of words, for the page and for a terminal."""

from __future__ import annotations

from benchmarks.contenders import OURS
from benchmarks.figures import median
from benchmarks.results import Results
from benchmarks.workloads.workload import Workload


def table_of(results: Results, workload: Workload) -> tuple[list[str], list[list[str]]]:
    """Its head, and a row for each contender; the last one is our ratio to bare pyzmq."""
    metrics = workload.metrics.items()
    rows = [
        [
            results.contenders[contender]["title"],
            *(in_words(results.of(workload.name, contender, name), metric.digits) for name, metric in metrics),
        ]
        for contender in results.figures[workload.name]
    ]
    ratios = [
        in_words(results.ratios(workload.name, OURS, name), 2) if metric.better else "" for name, metric in metrics
    ]
    if any(ratios):
        rows.append(["one_liner / bare", *ratios])
    return ["", *(metric.title for _, metric in metrics)], rows


def in_words(figures: list[float], digits: int = 0) -> str:
    """The median and, of several, from the smallest to the largest."""
    if not figures:
        return ""
    if len(figures) == 1:
        return f"{figures[0]:.{digits}f}"
    return f"{median(figures):.{digits}f} ({min(figures):.{digits}f} to {max(figures):.{digits}f})"
