"""Put a laser on the network: one line serves it, another one streams its power."""

import random

from one_liner import RouterServer


class Laser:
    """A diode laser. Nothing in this class knows about the network."""

    wavelength_nm = 640.0

    def __init__(self) -> None:
        self._set_point_mw = 0.0

    def set_power(self, power_mw: float) -> float:
        """Set the output power in mW and return what was set."""
        self._set_point_mw = float(power_mw)
        return self._set_point_mw

    def read_power(self) -> float:
        """The measured output power in mW, noise included."""
        return random.gauss(self._set_point_mw, 0.02)


if __name__ == "__main__":
    with RouterServer(instances={"laser": Laser()}) as server:
        server.add_stream("laser_power", 10, "laser", "read_power")
        print(f"serving at {server.rpc_endpoint}", flush=True)
        server.run(block=True)  # until Ctrl-C
