"""The stand-in application of `one-liner control-demo`: it acquires nothing, and behaves as if it did."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from threading import Condition, Thread
from typing import Any, Final

from one_liner.background import BackgroundThread
from one_liner.control import CommandRequest, CommandResponse, ControlService, EventKind, Later, Result

_STEPS: Final = 10
_LONGEST_S: Final = 3600.0


class DemoApplication:
    """Answers the commands that everybody knows, and tells of what it does.

    Args:
        service: where it is reached; not started yet.
        tell: called with a line for people about each command.
    """

    def __init__(self, service: ControlService, tell: Callable[[str], None]) -> None:
        self._service, self._tell = service, tell
        self._begun = time.monotonic()
        self._changed = Condition()
        self._acquisition: Later | None = None
        self._emergency = False
        self._thread: Thread | None = None
        service.state = "idle"
        handlers: dict[str, Callable[[CommandRequest], Any]] = {
            "START_ACQUISITION": self._start,
            "STOP_ACQUISITION": self._stop,
            "EMERGENCY_STOP": self._emergency_stop,
            "EMERGENCY_RESUME": self._emergency_resume,
            "GET_CONFIGURATION": self._configuration,
            "GET_STATUS": self._status,
        }
        for name, number in service.commands.items():
            service.add_handler(number, self._told(handlers.get(name, self._echo)))
        service.add_handler(None, self._told(self._echo))

    def close(self) -> None:
        """End what is under way."""
        self._end("the application was closed")
        if self._thread is not None:
            self._thread.join()

    def _told(self, function: Callable[[CommandRequest], Any]) -> Callable[[CommandRequest], Any]:
        def handle(request: CommandRequest) -> Any:
            self._tell(f"command {request.name} nonce {request.nonce} data {request.data} from {request.peer}")
            return function(request)

        return handle

    def _start(self, request: CommandRequest) -> Any:
        told = (request.data or {}).get("duration_s", 3.0)
        if isinstance(told, bool) or not isinstance(told, int | float) or not 0 < told <= _LONGEST_S:
            return CommandResponse(Result.FAILED, error_code=1, error_message=f"durationS is up to 3600, not {told!r}")
        with self._changed:
            if self._emergency:
                return CommandResponse(Result.FAILED, error_code=2, error_message="the emergency has to end first")
            if self._acquisition is not None:
                return CommandResponse(Result.FAILED, error_code=3, error_message="an acquisition is under way")
            self._acquisition = later = Later({"duration_s": told})
            self._service.state = "acquiring"
        self._thread = BackgroundThread(
            partial(self._acquire, later, float(told)), "demo acquisition", failed=lambda _: self._end("it has failed")
        )
        self._thread.start()
        return later

    def _acquire(self, later: Later, duration_s: float) -> None:
        self._service.send_event("acquisitionStarted", {"duration_s": duration_s})
        done = 0
        with self._changed:
            while done < _STEPS and not self._changed.wait_for(lambda: later.response is not None, duration_s / _STEPS):
                done += 1
                self._service.send_property_change("acquisition.progress", (done - 1) / _STEPS, done / _STEPS)
            if self._acquisition is later:
                self._acquisition = None
                self._service.state = "idle"
        later.finish({"frames": done})
        self._service.send_event("acquisitionEnded", {"frames": done})

    def _stop(self, request: CommandRequest) -> CommandResponse:
        if self._end(f"{request.name} came"):
            return CommandResponse()
        return CommandResponse(Result.FAILED, error_code=4, error_message="no acquisition is under way")

    def _end(self, why: str) -> bool:
        with self._changed:
            later, self._acquisition = self._acquisition, None
            if later is None:
                return False
            self._service.state = "idle"
            ended = later.finish(CommandResponse(Result.FAILED, error_code=5, error_message=f"cancelled: {why}"))
            self._changed.notify_all()
        return ended

    def _emergency_stop(self, request: CommandRequest) -> None:
        self._end(f"{request.name} came")
        self._emergency, self._service.state = True, "emergency"
        self._service.send_event(EventKind.EMERGENCY_STOP, {"who": request.peer})

    def _emergency_resume(self, request: CommandRequest) -> None:
        self._emergency, self._service.state = False, "idle"
        self._service.send_event(EventKind.EMERGENCY_RESUME, {"who": request.peer})

    def _status(self, request: CommandRequest) -> dict[str, Any]:
        return {"state": self._service.state, "up_s": round(time.monotonic() - self._begun, 1)}

    def _configuration(self, request: CommandRequest) -> dict[str, Any]:
        return {
            "identifier": self._service.identifier,
            "command_endpoint": self._service.command_endpoint,
            "broadcast_endpoint": self._service.broadcast_endpoint,
        }

    def _echo(self, request: CommandRequest) -> dict[str, Any]:
        return {"custom_command": request.custom_command, "data": request.data}
