"""A camera and a stage of python-microscope, served as they are.

The simulators stand in for the real thing: put the class of your camera in their place and nothing else changes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

import numpy as np
from microscope import AxisLimits
from microscope.simulators import SimulatedCamera, SimulatedStage

from one_liner import RouterServer

STEP_UM = 20.0
STEP_S = 0.01


class SlowStage(SimulatedStage):
    """The simulated stage is there at once; this one travels, as real ones do."""

    def move_to(self, position: Mapping[str, float]) -> None:
        """Move in a straight line; returns on arrival."""
        start = dict(self.position)
        steps = max(1, round(max(abs(position[axis] - start[axis]) for axis in position) / STEP_UM))
        for step in range(1, steps + 1):
            time.sleep(STEP_S)
            super().move_to({axis: start[axis] + (position[axis] - start[axis]) * step / steps for axis in position})


class FrameOutlet:
    """What a microscope camera calls its client: something with a `put`, called from the camera's own thread."""

    def __init__(self, put: Callable[[np.ndarray], object]) -> None:
        self.put = put


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rpc-port", default="5555", help="0 takes a free port")
    parser.add_argument("--broadcast-port", default="5556", help="0 takes a free port")
    ports = parser.parse_args()

    camera = SimulatedCamera(sensor_shape=(512, 512))
    stage = SlowStage({"x": AxisLimits(-5000, 5000), "y": AxisLimits(-5000, 5000)})

    with RouterServer(
        rpc_port=ports.rpc_port, broadcast_port=ports.broadcast_port, instances={"camera": camera}
    ) as server:
        # Where the stage is may be asked while it moves; all else on it waits for its turn.
        server.add_instance("stage", stage, concurrent=["position"])
        server.add_stream("position", 20, "stage", "position")

        # Each trigger makes one frame, whoever gave it: a call, or this clock, which a client may start and stop.
        # (`camera.grab_next_data` does both in one, but keeps a lock that belongs to the first thread that called it.)
        server.add_stream("live", 10, "camera", "trigger", enabled=False)
        camera.set_client(FrameOutlet(server.get_stream_fn("frames")))
        camera.enable()

        print(f"serving at {server.rpc_endpoint}", flush=True)
        try:
            server.run(block=True)
        finally:
            camera.shutdown()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
