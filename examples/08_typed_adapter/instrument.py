"""An instrument that needs the building: it starts the adapter, waits for it, and calls it as a typed object."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from api import CoolingRequest, InfrastructureAPI

from one_liner import RouterClient

NEEDED_L_MIN = 8.0


class Magnet:
    """A magnet that must not be ramped without cooling. It knows the contract, and nothing of the network."""

    def __init__(self, infrastructure: InfrastructureAPI) -> None:
        self._infrastructure = infrastructure
        self.field_t = 0.0

    def ramp(self, field_t: float) -> None:
        """Go to a field in tesla, with as much cooling water as that takes."""
        water = self._infrastructure.cooling_water()
        print(f"cooling water: {water.temperature_c:.1f} °C, {water.flow_l_min:.1f} l/min")
        if water.flow_l_min < NEEDED_L_MIN:
            request = CoolingRequest(flow_l_min=NEEDED_L_MIN, on_behalf_of="magnet")
            water = self._infrastructure.request_cooling(request)
            print(f"asked for more: {water!r}")
        if water.flow_l_min < NEEDED_L_MIN:
            raise RuntimeError(f"{water.flow_l_min:.1f} l/min cannot cool {field_t} T")
        self.field_t = field_t


@contextmanager
def running_adapter() -> Iterator[str]:
    """Run the adapter for as long as it is needed; gives the port it answers at."""
    command = [sys.executable, str(Path(__file__).with_name("adapter.py")), "--rpc-port", "0", "--broadcast-port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as adapter:
        assert adapter.stdout is not None
        try:
            first_line = adapter.stdout.readline()  # "serving at tcp://127.0.0.1:40123", or nothing if it died
            if not first_line:
                raise RuntimeError("the adapter did not start; its own message is above")
            yield first_line.strip().rpartition(":")[2]
        finally:
            adapter.terminate()


def main() -> None:
    with running_adapter() as rpc_port, RouterClient(rpc_port=rpc_port, broadcast_port=None) as client:
        magnet = Magnet(client.proxy("infrastructure", InfrastructureAPI))
        magnet.ramp(3.0)
        print(f"the field is {magnet.field_t} T")


if __name__ == "__main__":
    main()
