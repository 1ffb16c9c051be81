"""Commands that are jobs of the core: begun, and cancelled, by peers that know neither."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Any

from one_liner.control.core import Core, refusal
from one_liner.control.handlers import Function
from one_liner.control.later import Later
from one_liner.control.numbers import Result
from one_liner.control.request import CommandRequest
from one_liner.control.response import CommandResponse
from one_liner.errors import OneLinerError


@dataclass(slots=True, eq=False)
class _Begun:
    """A job that has not ended; its id is not known before it is accepted."""

    command: int
    id: str | None = None


class Jobs:
    """The jobs that the peers of one service have begun. May be used from any thread.

    Args:
        core: whose jobs they are.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self._lock = Lock()
        self._begun: dict[_Begun, None] = {}

    def beginning(self, command: int, path: str, attr_name: str, args: Sequence[Any]) -> Function:
        """A handler that submits a method, with the data of the request as arguments by name."""

        def begin(request: CommandRequest) -> Later:
            later, job = Later(), _Begun(command)

            def end(response: CommandResponse) -> None:
                self._forget(job)
                later.finish(response)

            with self._lock:
                self._begun[job] = None
            try:
                job.id = self._core.submit(path, attr_name, args, request.data or {}, request.peer, end)
            except BaseException:
                self._forget(job)
                raise
            later.data = {"job": job.id}
            return later

        return partial(_or_refused, begin)

    def cancelling(self, command: int) -> Function:
        """A handler that cancels the job its data names, or else all that the other command has begun."""

        def cancel(request: CommandRequest) -> CommandResponse:
            named = (request.data or {}).get("job")
            with self._lock:
                running = [job.id for job in self._begun if job.command == command and job.id is not None]
            asked = running if named is None else [str(named)]
            cancelled = [job_id for job_id in asked if self._core.cancel(job_id, request.peer)]
            if cancelled:
                return CommandResponse(data={"jobs": cancelled})
            message = "none of these jobs runs" if named is None else f"job {named} had ended before"
            return CommandResponse(Result.FAILED, error_message=message)

        return partial(_or_refused, cancel)

    def _forget(self, job: _Begun) -> None:
        with self._lock:
            self._begun.pop(job, None)


def _or_refused(handle: Callable[[CommandRequest], Any], request: CommandRequest) -> Any:
    try:
        return handle(request)
    except OneLinerError as error:
        return refusal(error)
