"""A furnace that answers JSON: for consoles and programs that are not written in Python."""

from __future__ import annotations

import argparse
import time
from enum import IntEnum
from threading import Event

from one_liner.control import CommandRequest, CommandResponse, ControlService, Result


class Commands(IntEnum):
    """What the furnace can be told; the numbers are what travels."""

    GET_STATUS = 400
    EMERGENCY_STOP = 200
    HEAT = 1000


class Kinds(IntEnum):
    """What can happen to it."""

    emergencyStop = 101  # noqa: N815  # As its peers call it.
    stepReached = 2001  # noqa: N815


class Furnace:
    """A furnace that exists only here."""

    def __init__(self, service: ControlService) -> None:
        self._service = service
        self._celsius = 20.0
        self._stopped = Event()

    def status(self, request: CommandRequest) -> dict[str, float | str]:
        return {"celsius": self._celsius, "log_path": "/data/furnace_1/log.txt"}

    def heat(self, request: CommandRequest) -> CommandResponse:
        """Takes seconds: the peer is told that it goes on, and later how it ended."""
        target = float((request.data or {}).get("target_celsius", 100))
        self._stopped.clear()
        while self._celsius < target:
            if self._stopped.wait(0.2):
                return CommandResponse(Result.FAILED, error_code=1, error_message="stopped")
            self._celsius = min(target, self._celsius + 20)
            self._service.send_event(Kinds.stepReached, {"celsius_now": self._celsius})
        return CommandResponse(data={"reached_celsius": self._celsius})

    def stop(self, request: CommandRequest) -> None:
        self._stopped.set()
        self._service.send_event(Kinds.emergencyStop, {"by_whom": request.peer})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--command-port", default="5557")
    parser.add_argument("--broadcast-port", default="5556")
    ports = parser.parse_args()

    with ControlService(
        "furnace",
        broadcast_port=ports.broadcast_port,
        command_port=ports.command_port,
        commands=Commands,
        event_kinds=Kinds,
    ) as service:
        furnace = Furnace(service)
        service.add_handler(Commands.GET_STATUS, furnace.status, lane=None)  # Beside `heat`, not after it.
        service.add_handler(Commands.HEAT, furnace.heat)
        service.add_handler(Commands.EMERGENCY_STOP, furnace.stop)
        service.start()
        print(f"serving at {service.command_endpoint}")
        print(f"events at {service.broadcast_endpoint}", flush=True)
        try:
            while True:
                time.sleep(1)
        except KeyboardInterrupt:
            pass
