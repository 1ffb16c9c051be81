"""What the demo serves: this machine, and a camera that is simulated."""

from __future__ import annotations

import math
import platform
import time

import numpy as np
import numpy.typing as npt
import psutil

HEIGHT, WIDTH = 480, 640
_SPOT_PX = 40
_NOISE_FRAMES = 8

Image = npt.NDArray[np.uint8]


class Machine:
    """The computer that this runs on, through psutil."""

    def __init__(self) -> None:
        self._network = _network_bytes()
        self._network_read_at = time.perf_counter()
        psutil.cpu_percent(percpu=True)  # The first answer is about the time before, which nobody measured.

    def load(self) -> list[float]:
        """How busy each core was since the last call, in percent."""
        return psutil.cpu_percent(percpu=True)

    def memory(self) -> dict[str, float]:
        """Memory in use: in percent, and in GiB with how much there is."""
        memory, gib = psutil.virtual_memory(), 2**30
        used = memory.total - memory.available
        return {"percent": memory.percent, "used_gib": used / gib, "of_gib": memory.total / gib}

    def temperatures(self) -> dict[str, float]:
        """All temperatures that the system shows, in °C; empty where it shows none."""
        read = getattr(psutil, "sensors_temperatures", None)  # Linux and FreeBSD have it.
        chips = read() if read is not None else {}
        return {
            f"{chip} {sensor.label}".strip(): sensor.current for chip, sensors in chips.items() for sensor in sensors
        }

    def network(self) -> dict[str, float]:
        """What came in and went out through the network since the last call, in KiB per second."""
        (received, sent), now = _network_bytes(), time.perf_counter()
        (received_before, sent_before), seconds = self._network, now - self._network_read_at
        self._network, self._network_read_at = (received, sent), now
        per_second = 1 / (1024 * seconds) if seconds > 0 else 0.0
        return {
            "in_kib_s": (received - received_before) * per_second,
            "out_kib_s": (sent - sent_before) * per_second,
        }

    def uptime(self) -> str:
        """How long the machine has been running."""
        minutes = int(time.time() - psutil.boot_time()) // 60
        return f"{minutes // 1440} d {minutes // 60 % 24} h {minutes % 60} min"

    def system(self) -> str:
        """The operating system and its version."""
        return f"{platform.system()} {platform.release()}"


def _network_bytes() -> tuple[int, int]:
    """Bytes received and sent so far; without the loopback, where the images of this demo go."""
    counters = psutil.net_io_counters(pernic=True)
    real = [one for name, one in counters.items() if name not in ("lo", "lo0") and not name.startswith("Loopback")]
    return sum(one.bytes_recv for one in real), sum(one.bytes_sent for one in real)


class Camera:
    """A camera that exists only here: a spot goes round over noise."""

    def __init__(self) -> None:
        random = np.random.default_rng()
        self._noise = [random.integers(0, 32, (HEIGHT, WIDTH), np.uint8) for _ in range(_NOISE_FRAMES)]
        axis = np.arange(-2 * _SPOT_PX, 2 * _SPOT_PX + 1) / _SPOT_PX
        self._spot = np.exp(-(axis[:, None] ** 2 + axis[None, :] ** 2))
        self._exposure_ms = 10.0
        self._taken = 0

    @property
    def exposure_ms(self) -> float:
        """How long light is collected for each image, in ms."""
        return self._exposure_ms

    def set_exposure(self, exposure_ms: float) -> float:
        """Set the exposure in ms, from 0.1 to 20, and return it."""
        if not 0.1 <= exposure_ms <= 20:
            raise ValueError(f"the exposure must be from 0.1 to 20 ms, not {exposure_ms:g}")
        self._exposure_ms = float(exposure_ms)
        return self._exposure_ms

    def image(self) -> Image:
        """One image: 480 rows of 640 pixels of 8 bits."""
        self._taken += 1
        image = self._noise[self._taken % _NOISE_FRAMES].copy()
        angle, reach = time.perf_counter(), 2 * _SPOT_PX
        row = round(HEIGHT / 2 + (HEIGHT / 2 - reach - 1) * math.sin(angle))
        column = round(WIDTH / 2 + (WIDTH / 2 - reach - 1) * math.cos(angle))
        brightness = 220 * self._exposure_ms / 20
        image[row - reach : row + reach + 1, column - reach : column + reach + 1] += (brightness * self._spot).astype(
            np.uint8
        )
        return image


STREAMS = {
    "load": {"frequency_hz": 5, "obj_name": "machine", "attr_name": "load"},
    "memory": {"frequency_hz": 2, "obj_name": "machine", "attr_name": "memory"},
    "network": {"frequency_hz": 2, "obj_name": "machine", "attr_name": "network"},
    "temperature": {"frequency_hz": 1, "obj_name": "machine", "attr_name": "temperatures"},
    "camera": {"frequency_hz": 20, "obj_name": "camera", "attr_name": "image"},
}
"""What is streamed, as in the `config` of a `RouterServer`."""
