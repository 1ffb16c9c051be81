"""The pictures of the page: few, small, and the same for the same figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from benchmarks.contenders import BARE, OURS
from benchmarks.figures import median
from benchmarks.page.text import curves_of
from benchmarks.results import Results
from benchmarks.workloads import WORKLOADS

COLOURS: Final = {OURS: "#2f6f9f", BARE: "#888888"}
PEERS_COLOUR: Final = "#d0b48a"
BARS: Final = (
    ("small_call", "echo_calls_per_s"),
    ("array_8mb", "mb_per_s"),
    ("frames_burst", "frames_per_s"),
    ("small_samples", "received_per_s"),
)
LOADS_IN_DECADES: Final = ("result / B",)


def draw(results: Results, folder: Path) -> dict[str, Path]:
    """Draw what the run has; the files by their title."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "one_liner", "font.size": 8, "axes.spines.top": False})
    matplotlib.rcParams.update({"axes.spines.right": False, "svg.fonttype": "none"})
    folder.mkdir(exist_ok=True)
    return {**_all_bars(results, folder), **_all_curves(results, folder)}


def _all_bars(results: Results, folder: Path) -> dict[str, Path]:
    shown = [(name, metric) for name, metric in BARS if results.of(name, OURS, metric)]
    if not shown:
        return {}
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(shown), figsize=(2.6 * len(shown), 2.6), squeeze=False)
    for axis, (name, metric) in zip(axes[0], shown, strict=True):
        _bars(axis, results, name, metric)
    return {"All contenders; lines from the smallest to the largest": _save(figure, folder / "contenders.svg")}


def _bars(axis: Any, results: Results, workload: str, metric: str) -> None:
    figures = {name: results.of(workload, name, metric) for name in results.contenders}
    there = sorted((name for name in figures if figures[name]), key=lambda name: median(figures[name]))
    medians = [median(figures[name]) for name in there]
    below = [middle - min(figures[name]) for name, middle in zip(there, medians, strict=True)]
    above = [max(figures[name]) - middle for name, middle in zip(there, medians, strict=True)]
    axis.barh(
        [results.contenders[name]["title"] for name in there],
        medians,
        xerr=[below, above],
        color=[COLOURS.get(name, PEERS_COLOUR) for name in there],
        error_kw={"linewidth": 0.8},
    )
    axis.set_title(f"{WORKLOADS[workload].title}\n{WORKLOADS[workload].metrics[metric].title}", fontsize=8)
    axis.locator_params(axis="x", nbins=3)


def _all_curves(results: Results, folder: Path) -> dict[str, Path]:
    curves = curves_of(results)
    if not curves:
        return {}
    from matplotlib import pyplot

    columns = 3
    rows = -(-len(curves) // columns)
    figure, axes = pyplot.subplots(rows, columns, figsize=(3.2 * columns, 2.4 * rows), squeeze=False)
    for axis in axes.flat[len(curves) :]:
        axis.remove()
    for axis, ((load, metric), points) in zip(axes.flat, curves.items(), strict=False):
        for name in (OURS, BARE):
            at = {p.curve[1]: results.of(p.name, name, metric) for p in points if p.curve}
            at = {where: figures for where, figures in at.items() if figures}
            middle = [median(figures) for figures in at.values()]
            axis.plot(list(at), middle, ".-", color=COLOURS[name], label=results.contenders.get(name, {}).get("title"))
            axis.fill_between(
                list(at), [min(f) for f in at.values()], [max(f) for f in at.values()], color=COLOURS[name], alpha=0.2
            )
        axis.set_xlabel(load)
        axis.set_title(points[0].metrics[metric].title, fontsize=8)
        if load in LOADS_IN_DECADES:
            axis.set_xscale("log")
            axis.set_yscale("log")
            axis.minorticks_off()
        else:
            axis.set_xticks([point.curve[1] for point in points if point.curve])
            axis.set_ylim(bottom=0)
    axes[0][0].legend(frameon=False)
    return {"How it grows; shaded from the smallest to the largest": _save(figure, folder / "curves.svg")}


def _save(figure: Any, path: Path) -> Path:
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    return path
