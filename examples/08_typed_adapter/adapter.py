"""The adapter: a process of its own that speaks the building's language on one side and ours on the other.

When the building's software changes, crashes or wants another version of Python, this file is what is touched.
"""

from __future__ import annotations

import argparse
from contextlib import suppress

from api import CoolingRequest, CoolingWater, InfrastructureAPI

from one_liner import RouterServer

LITRES_PER_GALLON = 3.785


class BuildingControl:
    """Stands for the outside service. It talks in lines of text, in Fahrenheit and gallons."""

    def __init__(self) -> None:
        self._flow_gpm = 0.8

    def transact(self, line: str) -> str:
        """Answer one line of the building's protocol."""
        verb, _, value = line.partition(" ")
        if verb == "SETFLOW":
            self._flow_gpm = float(value)
        return f"TEMP={64.4:.1f}F FLOW={self._flow_gpm:.3f}GPM"


class Infrastructure:
    """Our view of the building; satisfies `InfrastructureAPI`."""

    def __init__(self, building: BuildingControl) -> None:
        self._building = building

    def cooling_water(self) -> CoolingWater:
        """The cooling loop, as it is now."""
        return self._parse(self._building.transact("STATUS"))

    def request_cooling(self, request: CoolingRequest) -> CoolingWater:
        """Ask for more or less flow, and return what came of it."""
        return self._parse(self._building.transact(f"SETFLOW {request.flow_l_min / LITRES_PER_GALLON}"))

    def _parse(self, line: str) -> CoolingWater:
        fields = dict(field.split("=") for field in line.split())
        return CoolingWater(
            temperature_c=round((float(fields["TEMP"].removesuffix("F")) - 32) * 5 / 9, 1),
            flow_l_min=round(float(fields["FLOW"].removesuffix("GPM")) * LITRES_PER_GALLON, 1),
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rpc-port", default="5555", help="0 takes a free port")
    parser.add_argument("--broadcast-port", default="5556", help="0 takes a free port")
    ports = parser.parse_args()

    infrastructure: InfrastructureAPI = Infrastructure(BuildingControl())
    with RouterServer(
        rpc_port=ports.rpc_port, broadcast_port=ports.broadcast_port, instances={"infrastructure": infrastructure}
    ) as server:
        print(f"serving at {server.rpc_endpoint}", flush=True)
        server.run(block=True)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
