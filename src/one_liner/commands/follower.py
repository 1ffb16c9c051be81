"""A client's way to its jobs: what it asks their servers, and the updates that come by themselves."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any, Protocol
from weakref import WeakSet

from one_liner.commands.info import JobInfo
from one_liner.errors import MalformedError
from one_liner.events.event import Event, Topic
from one_liner.events.hub import EventHub, route_of
from one_liner.wire.messages import ROUTE_SEPARATOR


class Follows(Protocol):
    """Who wants to know what becomes of a job."""

    @property
    def id(self) -> str:
        """Of which."""

    @property
    def done(self) -> bool:
        """Whether nothing more will become of it."""

    def heard(self, info: JobInfo) -> None:
        """Something has become of it. Called on the hub's thread; returns at once."""


class JobFollower:
    """What all handles of one client share. May be used from any thread.

    Args:
        control: asks a server: the path, the word, and arguments.
        hub: receives the updates of jobs; a function, because nobody pays for it before there is a job.
        heartbeat_s: how often to ask after a job of which nothing is heard.
    """

    def __init__(self, control: Callable[..., Any], hub: Callable[[], EventHub], heartbeat_s: float) -> None:
        self.heartbeat_s = heartbeat_s
        self._control, self._hub = control, hub
        self._lock = Lock()
        self._handles: dict[str, WeakSet[Any]] = {}
        self._sources: set[str] = set()

    def follow(self, handle: Follows) -> None:
        """Have a handle hear what becomes of its job, as long as somebody has it."""
        source = source_of(handle.id)
        with self._lock:
            self._handles = {job_id: handles for job_id, handles in self._handles.items() if handles}
            self._handles.setdefault(handle.id, WeakSet()).add(handle)
            new = source not in self._sources
            self._sources.add(source)
        if new:
            try:
                self._hub().follow(Topic.JOB_UPDATE, source, self._heard, lambda: self._look(source))
            except BaseException:  # Ctrl-C, say: the next one has to.
                with self._lock:
                    self._sources.discard(source)
                raise
        elif self._hub().is_synchronised(Topic.JOB_UPDATE, source):
            # Something may have become of it before it was followed.
            self._hub().ask(handle.id, "job", {}, lambda data: self._tell(data, source))

    def ask(self, job_id: str) -> JobInfo:
        """What its server knows of a job."""
        return JobInfo.from_dict(self.control(job_id, "job"), route_of(source_of(job_id)))

    def control(self, job_id: str, word: str, **arguments: Any) -> Any:
        """Ask the server of a job."""
        return self._control(job_id, word, **arguments)

    def _look(self, source: str) -> None:
        """Ask after all jobs of a server that somebody has, in case an update was lost."""
        with self._lock:
            job_ids = [job_id for job_id, handles in self._handles.items() if not all(one.done for one in handles)]
        for job_id in job_ids:
            if source_of(job_id) == source:
                self._hub().ask(job_id, "job", {}, lambda data: self._tell(data, source))

    def _heard(self, event: Event) -> None:
        try:
            self._tell(event.context, event.source)
        except MalformedError:
            return  # Of a server of another kind; the handle asks by itself.

    def _tell(self, data: Any, source: str) -> None:
        """Something has become of a job.

        Raises:
            MalformedError: this is no description of one.
        """
        info = JobInfo.from_dict(data, route_of(source))
        with self._lock:
            handles = list(self._handles.get(info.id, ()))
        for handle in handles:
            handle.heard(info)


def source_of(job_id: str) -> str:
    """The route to the server of a job."""
    return job_id.rpartition(ROUTE_SEPARATOR)[0]
