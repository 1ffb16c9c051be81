"""Numbers as curves: one that grows with time, or one that is replaced by each sample."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
from nicegui import ui

from one_liner.aio import Sample
from one_liner.gateway.ui.downsampling import Numbers, downsampled

_MOST_POINTS = 400
_SPAN_S = 30.0
_MOST_KEPT = 20_000
_MOST_CURVES = 8
_COLOURS = ["#2563eb", "#ea580c", "#059669", "#9333ea", "#dc2626", "#0891b2", "#ca8a04", "#64748b"]
_GREY = "#8884"


class TracePlot:
    """The last half minute of a number, or of each of several, in the element that is being filled."""

    most_waiting = 2000

    def __init__(self) -> None:
        self._curves: dict[str, deque[tuple[float, float]]] = {}
        self._chart = _chart("time")

    def show(self, samples: list[Sample]) -> None:
        """Go on with these."""
        for sample in samples:
            for name, value in _numbers_of(sample.data).items():
                if name in self._curves or len(self._curves) < _MOST_CURVES:
                    self._curves.setdefault(name, deque(maxlen=_MOST_KEPT)).append((sample.wall_time, value))
        until = samples[-1].wall_time
        for curve in self._curves.values():
            while curve and curve[0][0] < until - _SPAN_S:
                curve.popleft()
        series = [_series(name, *_columns(curve)) for name, curve in self._curves.items()]
        axis = {"min": (until - _SPAN_S) * 1000, "max": until * 1000}
        _set(self._chart, {"xAxis": axis, "series": series, "legend": {"show": len(series) > 1}})


class CurvePlot:
    """The newest array of one dimension, against its index, in the element that is being filled."""

    most_waiting = 1

    def __init__(self) -> None:
        self._chart = _chart("value")

    def show(self, samples: list[Sample]) -> None:
        """Show the newest."""
        values = np.asarray(samples[-1].data, np.float64)
        series = [_series("", np.arange(len(values), dtype=np.float64), values)]
        _set(self._chart, {"xAxis": {"min": 0, "max": max(1, len(values) - 1)}, "series": series})


def is_trace(data: Any) -> bool:
    """Whether it is a number, or several by name."""
    return bool(_numbers_of(data))


def is_curve(data: Any) -> bool:
    """Whether it is numbers in a row."""
    if isinstance(data, np.ndarray):
        return data.ndim == 1 and data.dtype.kind in "biuf" and data.size > 0
    plain = isinstance(data, list | tuple) and bool(data)
    return plain and all(isinstance(one, float | int) for one in data)


def _numbers_of(data: Any) -> dict[str, float]:
    if isinstance(data, np.ndarray) and data.ndim == 0:
        data = data[()]
    if isinstance(data, float | int | np.number | np.bool_) and not isinstance(data, np.complexfloating):
        return {"": float(data)}
    if isinstance(data, Mapping) and data and all(isinstance(one, float | int | np.number) for one in data.values()):
        return {str(name): float(one) for name, one in data.items()}
    return {}


def _columns(curve: deque[tuple[float, float]]) -> tuple[Numbers, Numbers]:
    points = np.asarray(curve, np.float64).reshape(-1, 2)
    return points[:, 0] * 1000, points[:, 1]


def _series(name: str, x: Numbers, y: Numbers) -> dict[str, Any]:
    x, y = downsampled(x, y, _MOST_POINTS)
    points = zip(x.tolist(), y.tolist(), strict=True)
    # Six digits are more than a screen has, and a third of what a double would take on the way.
    data = [[round(at, 3), float(f"{value:.6g}") if math.isfinite(value) else None] for at, value in points]
    return {"name": name, "type": "line", "showSymbol": False, "lineStyle": {"width": 1.5}, "data": data}


def _chart(axis: str) -> ui.echart:
    labels = {"color": "#888", "hideOverlap": True}
    line = {"lineStyle": {"color": _GREY}}
    options = {
        "animation": False,
        "color": _COLOURS,
        "grid": {"left": 8, "right": 12, "top": 12, "bottom": 4, "containLabel": True},
        "legend": {"show": False, "top": 0, "textStyle": {"color": "#888"}},
        "xAxis": {"type": axis, "axisLine": line, "splitLine": {"show": False}, "splitNumber": 4, "axisLabel": labels},
        "yAxis": {"type": "value", "scale": True, "splitNumber": 4, "splitLine": line, "axisLabel": labels},
        "series": [],
    }
    return ui.echart(options).classes("ol-plot").props("data-plot")


def _set(chart: ui.echart, options: dict[str, Any]) -> None:
    """Only what changes is sent, and nothing of it is kept here."""
    chart.run_chart_method("setOption", options)
