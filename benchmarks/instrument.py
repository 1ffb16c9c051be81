"""What every contender serves: the same object, which costs next to nothing to call."""

from __future__ import annotations

from threading import Event
from typing import Any

HOLD_TIMEOUT_S = 20.0


class Instrument:
    """A stage with a camera, as far as a measurement of the wire needs one."""

    def __init__(self) -> None:
        self._arrays: dict[int, Any] = {}
        self._released = Event()

    def echo(self, value: Any) -> Any:
        """Give back what came."""
        return value

    def state(self) -> dict[str, Any]:
        """A dict as drivers return it."""
        return {
            "position_mm": [1.25, -3.5, 0.0],
            "moving": False,
            "temperature_c": 21.43,
            "limits_mm": {"x": [-50.0, 50.0], "y": [-50.0, 50.0], "z": [0.0, 12.0]},
            "serial": "XY-0042",
            "errors": 0,
        }

    def array(self, size_bytes: int) -> Any:
        """A numpy array of so many bytes; always the same one, so that making it is not measured."""
        if size_bytes not in self._arrays:
            import numpy as np

            self._arrays[size_bytes] = np.arange(size_bytes, dtype=np.uint64).astype(np.uint8)
        return self._arrays[size_bytes]

    def content(self, size_bytes: int) -> bytes:
        """The same as bytes, for those that cannot carry arrays."""
        content: bytes = self.array(size_bytes).tobytes()
        return content

    def hold(self) -> None:
        """Return when `release` was called."""
        self._released.wait(HOLD_TIMEOUT_S)

    def release(self) -> None:
        """Let everybody go who is held."""
        self._released.set()
