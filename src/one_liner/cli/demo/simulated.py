"""Instruments that exist only here, for `one-liner gateway --demo`, and the process that serves them.

Whatever they are given, they take what an instrument of their kind could do: a stage stops at its end.
"""

from __future__ import annotations

import math
import sys
import time
from threading import Event

import numpy as np
import numpy.typing as npt

from one_liner.cli.demo.serving import serve_until_left
from one_liner.commands.job import Job

_LONGEST_MM = 100.0
_SPEED_MM_S = 20.0
_STEP_S = 0.02
_DWELL_S = 0.3
_POINTS = 256


class Laser:
    """A laser that is dimmed."""

    def __init__(self) -> None:
        self._power_mw = 5.0
        self._random = np.random.default_rng()

    @property
    def power_mw(self) -> float:
        """What comes out now, in mW, with the noise of the meter."""
        return float(self._power_mw * (1 + 0.01 * self._random.normal()))

    @property
    def wavelength_nm(self) -> float:
        """Its colour, in nm."""
        return 532.0

    def set_power(self, power_mw: float) -> float:
        """Set the power, from 0 to 50 mW; gives what it is set to."""
        self._power_mw = min(max(float(power_mw), 0.0), 50.0)
        return self._power_mw

    def spectrum(self) -> npt.NDArray[np.float64]:
        """256 intensities around the line."""
        x = np.linspace(-4, 4, _POINTS)
        return np.asarray(self._power_mw * np.exp(-(x**2)) + 0.05 * self._random.normal(size=_POINTS))


class Stage:
    """A stage that takes its time."""

    def __init__(self) -> None:
        self._position_mm = 0.0
        self._stopped = Event()

    @property
    def position_mm(self) -> float:
        """Where it is, in mm."""
        return self._position_mm

    def move(self, to_mm: float) -> float:
        """Move, at 20 mm in a second, between 0 and 100 mm; gives where it got to."""
        self._stopped.clear()
        goal = min(max(float(to_mm), 0.0), _LONGEST_MM)
        while self._position_mm != goal and not self._stopped.wait(_STEP_S):
            way = goal - self._position_mm
            self._position_mm = (
                goal
                if abs(way) <= _SPEED_MM_S * _STEP_S
                else self._position_mm + math.copysign(_SPEED_MM_S * _STEP_S, way)
            )
        return self._position_mm

    def scan(self, job: Job, to_mm: float = 50.0, points: int = 20) -> list[float]:
        """Stop at so many points on the way; gives where they were."""
        reached: list[float] = []
        for place in np.linspace(self._position_mm, to_mm, points):
            reached.append(self.move(float(place)))
            job.progress(len(reached) / points, f"at {reached[-1]:.1f} mm")
            job.sleep(_DWELL_S)
        return reached

    def stop(self) -> None:
        """End a move."""
        self._stopped.set()

    def limits(self) -> list[float]:
        """Where it can go, in mm."""
        return [0.0, _LONGEST_MM]


class Camera:
    """A camera that sees a spot going round."""

    def __init__(self) -> None:
        self._exposure_ms = 10.0
        rows, columns = np.mgrid[0:240, 0:320]
        self._rows, self._columns = rows.astype(np.float32), columns.astype(np.float32)
        self._random = np.random.default_rng()

    @property
    def exposure_ms(self) -> float:
        """How long light is collected, in ms."""
        return self._exposure_ms

    @exposure_ms.setter
    def exposure_ms(self, exposure_ms: float) -> None:
        self._exposure_ms = min(max(float(exposure_ms), 0.1), 20.0)

    def image(self) -> npt.NDArray[np.uint8]:
        """One image: 240 rows of 320 pixels of 8 bits."""
        angle = time.perf_counter()
        row, column = 120 + 80 * math.sin(angle), 160 + 120 * math.cos(angle)
        spot = np.exp(-((self._rows - row) ** 2 + (self._columns - column) ** 2) / 400)
        noise = self._random.integers(0, 24, spot.shape, np.uint8)
        return np.asarray(noise + (spot * (11 * self._exposure_ms)).astype(np.uint8))


STREAMS = {
    "laser_power": (20.0, "laser", "power_mw"),
    "spectrum": (5.0, "laser", "spectrum"),
    "position": (10.0, "stage", "position_mm"),
    "camera": (20.0, "camera", "image"),
}
"""What is streamed: how often per second, of which object, what."""


def main(rpc_port: str, broadcast_port: str) -> int:
    """Serve them until nobody holds the other end of standard input; gives the exit code."""
    from one_liner.server import RouterServer

    def make() -> RouterServer:
        server = RouterServer(rpc_port=rpc_port, broadcast_port=broadcast_port)
        server.add_instance("laser", Laser(), read_only=["spectrum"])
        server.add_instance("stage", Stage(), urgent=["stop"], read_only=["limits"], safe_call="stop",
                            concurrent=["position_mm"])  # fmt: skip
        server.add_instance("camera", Camera())
        for name, stream in STREAMS.items():
            server.add_stream(name, *stream)
        server.add_named_call("home", "stage", "move", [0.0])
        return server

    return serve_until_left(make)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
