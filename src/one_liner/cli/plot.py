"""`one-liner plot`: a stream as a curve, and below it its rolling mean and standard deviation.

From a gateway, or straight from a server. Where nobody is there, or nobody any more, it waits and tries again.
"""

from __future__ import annotations

import importlib.util
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Event, Lock
from typing import Annotated, Any

import typer

from one_liner.background import PAUSE_S, BackgroundThread
from one_liner.cli.connection import KeysOption, ServerKeyOption, connect
from one_liner.cli.web import DEFAULT_URL, TokenOption
from one_liner.errors import (
    BadArgumentsError,
    ConfigurationError,
    MissingExtraError,
    NoDataError,
    OneLinerError,
    SourceFailedError,
    StreamTimeoutError,
)

_WINDOW = 50
_KEPT = 500
_AGAIN_S = 0.5
_REDRAW_S = 0.05
Put = Callable[[float, Any], None]


def plot(
    stream: Annotated[
        str | None, typer.Argument(metavar="[STREAM]", help="Which; what the gateway shows by default if not given.")
    ] = None,
    url: Annotated[str, typer.Option("--url", envvar="ONE_LINER_GATEWAY", help="Where the gateway is.")] = DEFAULT_URL,
    server: Annotated[
        str | None, typer.Option("--server", "-s", metavar="HOST[:PORT]", help="A server, without a gateway between.")
    ] = None,
    duration: Annotated[
        float | None,
        typer.Option("--duration", metavar="SECONDS", help="For how long; until it is closed if not given."),
    ] = None,
    save: Annotated[
        Path | None, typer.Option("--save", metavar="FILE.PNG", help="Show nothing, and write the plot at the end.")
    ] = None,
    token: TokenOption = None,
    keys: KeysOption = None,
    server_key: ServerKeyOption = None,
) -> None:
    """Plot a stream: the signal above, its rolling mean and standard deviation (50 samples) below.

    Of an array the mean is taken. Exit code 1 if nothing came.
    """
    if not all(importlib.util.find_spec(name) for name in ("matplotlib", "numpy")):
        raise MissingExtraError("this needs: pip install 'one_liner[plot]'")
    if server is not None and stream is None:
        raise ConfigurationError("which stream of the server? `one-liner ls` lists them")
    if save is not None and duration is None:
        raise ConfigurationError("--save needs --duration: for how long?")
    if save is not None and not save.parent.is_dir():
        raise ConfigurationError(f"there is no folder {save.parent} to save it in")
    signal = Signal()
    stop = Event()
    say = Teller()

    def follow() -> None:
        if server is not None:
            _follow_server(signal.put, stop, say, server, str(stream), keys, server_key)
        else:
            _follow_gateway(signal.put, stop, say, url, stream, token)

    reader = BackgroundThread(partial(_again, follow, stop, say), "plot", pause_s=PAUSE_S)
    reader.start()
    try:
        _draw(signal, stream or url, duration, save)
    except KeyboardInterrupt:
        pass
    finally:
        stop.set()
        reader.join(5.0)
    if not signal.came:
        raise StreamTimeoutError("nothing came")
    print(f"{signal.came} samples came")


class Signal:
    """The newest values of a stream, and their statistics. May be used from any thread.

    Attributes:
        came: how many values came.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._times: deque[float] = deque(maxlen=_KEPT)
        self._values: deque[float] = deque(maxlen=_KEPT)
        self.came = 0

    def put(self, when: float, value: Any) -> None:
        """Take a value in: a number, or numbers, of which the mean counts.

        Raises:
            BadArgumentsError: it is neither.
        """
        import numpy as np

        try:
            numbers = np.asarray([one for one in np.ravel(value) if one is not None], dtype=float)
        except (TypeError, ValueError):
            raise BadArgumentsError(f"only numbers can be plotted, unlike {value!r:.60}") from None
        if numbers.size:
            with self._lock:
                self._times.append(when)
                self._values.append(float(numbers.mean()))
                self.came += 1

    def curves(self) -> tuple[Any, Any, Any, Any]:
        """Seconds before the newest, values, and rolling mean and standard deviation of up to 50 of them."""
        import numpy as np

        with self._lock:
            times, values = np.array(self._times), np.array(self._values)
        if not values.size:
            return times, values, values, values
        windows = [values[max(0, end - _WINDOW) : end] for end in range(1, len(values) + 1)]
        mean = np.array([window.mean() for window in windows])
        deviation = np.array([window.std() for window in windows])
        return times - times[-1], values, mean, deviation


class Teller:
    """Prints what is wrong, and not over and over."""

    def __init__(self) -> None:
        self._said = ""

    def __call__(self, problem: str) -> None:
        """Print it, unless it was the last that was printed."""
        if problem != self._said:
            self._said = problem
            print(f"one-liner plot: {problem}; trying again", flush=True)


def _again(follow: Callable[[], None], stop: Event, say: Teller) -> None:
    while not stop.is_set():
        try:
            follow()
        except OneLinerError as error:
            say(str(error))
        stop.wait(_AGAIN_S)


def _follow_server(
    put: Put, stop: Event, say: Teller, server: str, stream: str, keys: str | None, server_key: str | None
) -> None:
    with connect(server, None, keys, server_key) as client:
        client.configure_stream(stream)
        while not stop.is_set():
            try:
                sample = client.get_stream(stream, timeout_s=_AGAIN_S)
            except NoDataError:
                continue
            except SourceFailedError as failed:
                say(str(failed))
                continue
            put(sample.wall_time, sample.data)


def _follow_gateway(put: Put, stop: Event, say: Teller, url: str, stream: str | None, token: str | None) -> None:
    from one_liner import gateway

    def take(message: dict[str, Any]) -> None:
        # The last point of a curve is the newest; of a stream of arrays, the mean.
        put(message["timestamp"], message["y"] if "stream" in message else message["y"][-1])

    with gateway.NumpyClient(url, token=token) as client:
        connection = client.connect_streaming(take, streams=None if stream is None else [stream])
        while not stop.is_set() and not connection.wait(_AGAIN_S):
            if connection.problem:
                say(connection.problem)


def _draw(signal: Signal, title: str, duration_s: float | None, save: Path | None) -> None:
    import matplotlib

    if save is not None:
        matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (above, below) = pyplot.subplots(2, 1, sharex=True, figsize=(8, 6))
    if save is not None and save.suffix[1:].lower() not in {"", *(known := figure.canvas.get_supported_filetypes())}:
        raise ConfigurationError(f"a plot is saved as {', '.join(sorted(known))}, not as {save.suffix}")
    above.set_title(title)
    above.set_ylabel("signal")
    below.set_ylabel(f"of {_WINDOW} samples")
    below.set_xlabel("time before now (s)")
    (curve,) = above.plot([], [], label="signal")
    (mean,) = below.plot([], [], label="mean")
    (deviation,) = below.plot([], [], label="standard deviation")
    below.legend(loc="upper left")
    end = float("inf") if duration_s is None else time.monotonic() + duration_s
    while time.monotonic() < end and (save is not None or pyplot.fignum_exists(figure.number)):
        if save is not None:
            time.sleep(min(_REDRAW_S, max(0.0, end - time.monotonic())))
            continue
        _update(signal, curve, mean, deviation, (above, below))
        pyplot.pause(_REDRAW_S)
    _update(signal, curve, mean, deviation, (above, below))
    if save is not None:
        try:
            figure.savefig(save)
        except OSError as error:
            raise ConfigurationError(f"{save}: {error.strerror}") from None
    pyplot.close(figure)


def _update(signal: Signal, curve: Any, mean: Any, deviation: Any, axes: tuple[Any, Any]) -> None:
    times, values, means, deviations = signal.curves()
    curve.set_data(times, values)
    mean.set_data(times, means)
    deviation.set_data(times, deviations)
    for one in axes:
        one.relim()
        one.autoscale_view()
