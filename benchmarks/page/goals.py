"""What was to be reached, and whether a run reached it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from benchmarks.contenders import BARE, OURS
from benchmarks.figures import median
from benchmarks.results import Results

MIB: Final = 1024 * 1024 / 1e6
Figures = Callable[[Results], list[float]]


@dataclass(frozen=True)
class Goal:
    """One line of the table.

    Attributes:
        name: in `remarks.toml`.
        title: what is looked at.
        figures: one of each round, of what has a limit; empty where it was not measured.
        side: on which side of the limit is good.
        limit: what was to be reached.
        unit: of both; "× …" for a ratio.
        digits: behind the point.
    """

    name: str
    title: str
    figures: Figures
    side: Literal["≤", "≥"]
    limit: float
    unit: str
    digits: int = 2

    def reached(self, results: Results) -> bool | None:
        """Whether the median is on the good side; None where it was not measured."""
        figures = self.figures(results)
        if not figures:
            return None
        return median(figures) <= self.limit if self.side == "≤" else median(figures) >= self.limit


def _of(workload: str, metric: str) -> Figures:
    return lambda results: results.of(workload, OURS, metric)


def _of_bare(workload: str, metric: str) -> Figures:
    return lambda results: results.ratios(workload, OURS, metric)


def _of_fastest_peer(workload: str, metric: str) -> Figures:
    """A ratio to whichever peer has the largest figure."""

    def figures(results: Results) -> list[float]:
        medians = {
            name: median(results.of(workload, name, metric))
            for name in results.contenders
            if name not in (OURS, BARE) and results.of(workload, name, metric)
        }
        return results.ratios(workload, OURS, metric, max(medians, key=medians.__getitem__)) if medians else []

    return figures


def _off_by_percent(workload: str, metric: str, right: float) -> Figures:
    return lambda results: [100 * abs(figure / right - 1) for figure in results.of(workload, OURS, metric)]


def _added_by_each(hops: int) -> Figures:
    """What one hop of so many adds to a call, in direct calls."""

    def figures(results: Results) -> list[float]:
        through, direct = (results.of(f"hops_{count}_call", OURS, "p50_us") for count in (hops, 0))
        return [(more / median(direct) - 1) / hops for more in through] if direct else []

    return figures


def _of_direct(hops: int) -> Figures:
    def figures(results: Results) -> list[float]:
        through, direct = (results.of(f"hops_{count}_frames", OURS, "frames_per_s") for count in (hops, 0))
        return [figure / median(direct) for figure in through] if direct else []

    return figures


def _age_beyond_wire(results: Results) -> list[float]:
    """The oldest frame that a reader of the cache saw, less what a frame takes on the bare wire."""
    wire = results.of("frames_queue", BARE, "latency_p50_ms")
    return [age - median(wire) for age in results.of("frames_cache", OURS, "age_max_ms")] if wire else []


def _calls(name: str, title: str) -> tuple[Goal, ...]:
    return tuple(
        Goal(
            f"{name}_{method}_{percent}",
            f"{title}, {method}, {percent}",
            _of_bare(name, f"{method}_{percent}_us"),
            "≤",
            1.15,
            "× bare",
        )
        for method in ("echo", "dict")
        for percent in ("p50", "p99")
    )


GOALS: Final = (
    *_calls("small_call", "small call"),
    *_calls("small_call_pinned", "small call, all on one core"),
    Goal(
        "calls_of_peers",
        "small call, calls/s",
        _of_fastest_peer("small_call", "echo_calls_per_s"),
        "≥",
        1.5,
        "× the fastest peer",
    ),
    Goal("clients_8", "8 clients, calls/s together", _of_bare("clients_8", "calls_per_s"), "≥", 0.85, "× bare"),
    Goal("array_8mb", "8 MB numpy result, p50", _of_bare("array_8mb", "p50_us"), "≤", 1.1, "× bare, uncopied"),
    Goal("rate", "1 kHz stream, rate off by", _off_by_percent("kilohertz", "rate_hz", 1000), "≤", 0.01, "%", 4),
    Goal("skipped", "1 kHz stream, ticks skipped", _of("kilohertz", "skipped_percent"), "≤", 0.1, "%", 3),
    Goal(
        "distance",
        "1 kHz stream, from the grid, p99",
        _of_bare("kilohertz", "distance_p99_us"),
        "≤",
        1.2,
        "× a bare loop",
    ),
    Goal(
        "busy",
        "1 kHz stream, a busy thread, switch interval set: ticks skipped",
        _of("kilohertz_busy", "skipped_percent"),
        "≤",
        0.5,
        "%",
        3,
    ),
    Goal("frames_burst", "1080p frames/s", _of_bare("frames_burst", "frames_per_s"), "≥", 0.9, "× bare"),
    Goal("frames_cache", "cached frame, oldest, less the wire", _age_beyond_wire, "≤", 2000 / 60, "ms", 1),
    Goal("small_samples", "small samples/s", _of_bare("small_samples", "received_per_s"), "≥", 0.85, "× bare"),
    Goal(
        "small_samples_many",
        "small samples/s, read in batches",
        _of_bare("small_samples_many", "received_per_s"),
        "≥",
        0.85,
        "× bare",
    ),
    Goal("stalled_server", "stalled reader: server grew", _of("frames_stalled", "server_mb"), "≤", 256 * MIB, "MB", 0),
    Goal("stalled_client", "stalled reader: client grew", _of("frames_stalled", "client_mb"), "≤", 256 * MIB, "MB", 0),
    Goal("hop_1", "one router, added to a call", _added_by_each(1), "≤", 1.0, "× a direct call"),
    Goal("hop_4", "each of four routers, added to a call", _added_by_each(4), "≤", 1.0, "× a direct call"),
    Goal("hop_1_frames", "frames/s through one router", _of_direct(1), "≥", 0.9, "× direct"),
    Goal("hop_4_frames", "frames/s through four routers", _of_direct(4), "≥", 0.9, "× direct"),
    Goal("idle", "idle server", _of("idle", "cpu_percent"), "≤", 0.1, "% of a core", 3),
    Goal("import", "import, beyond the interpreter", _of("start", "import_ms"), "≤", 50, "ms", 0),
)
