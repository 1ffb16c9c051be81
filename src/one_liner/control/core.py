"""What a control service stands beside: a server in this process, or a client of one anywhere.

Both have jobs and events; what differs is how a job is waited for, and what may become of the other side meanwhile.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from threading import Event as Flag
from typing import TYPE_CHECKING, Any, Final, Protocol

from one_liner.background import BackgroundThread
from one_liner.callbacks import Callback
from one_liner.commands.info import JobInfo, error_of_job
from one_liner.commands.state import JobState
from one_liner.control.numbers import ErrorKind, Result
from one_liner.control.response import CommandResponse
from one_liner.errors import CallTimeoutError, JobLostError, OneLinerError, RemoteError, TransportError, UnknownJobError
from one_liner.events.event import Event, Topic

if TYPE_CHECKING:
    from one_liner.client import RouterClient
    from one_liner.commands.handle import JobHandle
    from one_liner.server import RouterServer

Ended = Callable[[CommandResponse], Any]
FORWARDED: Final = (Topic.EMERGENCY, Topic.EVENT, Topic.PROPERTY_CHANGE)
_LOST_S: Final = 30.0
_SLICE_S: Final = 0.2


class Core(Protocol):
    """Jobs and events of a server. May be used from any thread."""

    def submit(
        self, path: str, attr_name: str, args: Sequence[Any], kwargs: Mapping[str, Any], who: str, on_end: Ended
    ) -> str:
        """Have a job accepted; gives its id, or raises what it is refused with. `on_end` is called at its end, once."""

    def cancel(self, job_id: str, who: str) -> bool:
        """Have a job end; False when it had ended."""

    def listen(self, function: Callable[[Event], Any]) -> Callback[Event]:
        """Call a function with every event that is forwarded."""

    @property
    def state(self) -> str:
        """What the application says that it does."""

    def close(self) -> None:
        """Wait for no job any more."""


class InProcess:
    """A server in this process.

    Args:
        server: the server.
    """

    def __init__(self, server: RouterServer) -> None:
        self._server = server

    def submit(
        self, path: str, attr_name: str, args: Sequence[Any], kwargs: Mapping[str, Any], who: str, on_end: Ended
    ) -> str:
        """Have a job accepted."""

        def ended(info: JobInfo) -> None:
            try:
                on_end(_end_of(info, lambda: self._server.job_result(info.id)))
            except OneLinerError as error:
                on_end(_lost(error))

        client = _number_of(who)
        return self._server.submit(path, attr_name, args, kwargs, who=who, client=client, on_done=ended).id

    def cancel(self, job_id: str, who: str) -> bool:
        """Have a job end; False when it had ended."""
        return self._server.cancel_job(job_id, who, _number_of(who))

    def listen(self, function: Callable[[Event], Any]) -> Callback[Event]:
        """Call a function with every event that is forwarded."""
        return self._server.on_event(function, FORWARDED)

    @property
    def state(self) -> str:
        """What the application says that it does."""
        return self._server.state

    def close(self) -> None:
        """The server tells of the end of its jobs by itself."""


class ThroughClient:
    """A server anywhere, and those behind its routers.

    Args:
        client: of the server; it stays open.
    """

    def __init__(self, client: RouterClient) -> None:
        self._client = client
        self._closed = Flag()

    def submit(
        self, path: str, attr_name: str, args: Sequence[Any], kwargs: Mapping[str, Any], who: str, on_end: Ended
    ) -> str:
        """Have a job accepted."""
        job = self._client.submit(path, attr_name, args, kwargs)

        def failed(error: BaseException) -> None:
            on_end(CommandResponse(Result.FAILED, error_message=f"what became of {job.id} is not known: {error}"))

        BackgroundThread(partial(self._watch, job, on_end), f"control job {job.id}", failed=failed).start()
        return job.id

    def cancel(self, job_id: str, who: str) -> bool:
        """Have a job end; False when it had ended."""
        return self._client.job(job_id).cancel()

    def listen(self, function: Callable[[Event], Any]) -> Callback[Event]:
        """Call a function with every event that is forwarded."""
        return self._client.on_event(function, FORWARDED)

    @property
    def state(self) -> str:
        """How the server is, as the client sees it."""
        return str(self._client.state)

    def close(self) -> None:
        """Wait for no job any more. They go on."""
        self._closed.set()

    def _watch(self, job: JobHandle, on_end: Ended) -> None:
        """Wait for the end of a job; a server that is away for a while may come back with it."""
        lost: float | None = None
        while not self._closed.is_set():
            try:
                job.wait(_SLICE_S)
                on_end(_end_of(job.info, job.result))
                return
            except CallTimeoutError:
                lost = None
            except (JobLostError, UnknownJobError) as error:
                on_end(_lost(error))
                return
            except OneLinerError as error:
                lost = time.monotonic() if lost is None else lost
                if time.monotonic() - lost > _LOST_S:
                    on_end(_lost(error))
                    return
                self._closed.wait(_SLICE_S)


def refusal(error: OneLinerError) -> CommandResponse:
    """A job that was not accepted, or cannot be steered."""
    if isinstance(error, TransportError):
        return _lost(error)
    return CommandResponse(Result.FAILED, error_message=_text_of(error))


def _number_of(who: str) -> int:
    """A number that stands for a peer where the server knows its clients by number."""
    return int.from_bytes(hashlib.blake2b(who.encode(), digest_size=8).digest()) | 1


def _end_of(info: JobInfo, result: Callable[[], Any]) -> CommandResponse:
    if info.state is JobState.SUCCEEDED:
        return CommandResponse(data=result())
    error = error_of_job(info)
    raised = isinstance(error, RemoteError)
    return CommandResponse(Result.EXCEPTION if raised else Result.FAILED, error_message=_text_of(error))


def _lost(error: OneLinerError) -> CommandResponse:
    return CommandResponse(Result.UNAVAILABLE, error_kind=ErrorKind.SYSTEM_ERROR, error_message=str(error))


def _text_of(error: OneLinerError) -> str:
    return f"{error.type_name}: {error}" if isinstance(error, RemoteError) else str(error)
