"""The server's side of commands: accepts jobs, has them run in their object's lane, and keeps what became of them."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from threading import Condition, Event, Lock, Thread
from typing import Any, Final

from one_liner.background import PAUSE_S, BackgroundThread
from one_liner.clock import Clock
from one_liner.commands.info import JobInfo, error_of_job
from one_liner.commands.job import Job
from one_liner.commands.record import JobRecord, Result
from one_liner.commands.steering import JobCancelled, Steering
from one_liner.commands.yields import finished
from one_liner.config import check_arguments, check_timeout
from one_liner.errors import (
    BadArgumentsError,
    ConfigurationError,
    JobLostError,
    JobStateError,
    JobTimeoutError,
    LimitError,
    OneLinerError,
    UnknownJobError,
)
from one_liner.events.emitter import Emitter
from one_liner.events.event import Topic
from one_liner.events.history import History
from one_liner.limits import Limits
from one_liner.rpc.calling import shape_of
from one_liner.rpc.exposure import Exposure
from one_liner.rpc.sessions import Sessions
from one_liner.rpc.target import Target
from one_liner.rpc.task import Task
from one_liner.rpc.vigil import ROUND_S, Vigil
from one_liner.uninterrupted import uninterrupted
from one_liner.wire.codec import Codec
from one_liner.wire.extensions import Buffer
from one_liner.wire.faults import fault_of

MAX_ENTRIES: Final = 1000
MAX_BYTES: Final = 256 * 1024 * 1024
MAX_AGE_S: Final = 7 * 86_400.0
MAX_TOLD_BYTES: Final = 64 * 1024
"""A larger result is not told to everybody with the event; it is there for whoever asks."""
_ID: Final = r"[0-9a-f]{8}-[0-9]+"
_log = logging.getLogger("one_liner.commands.desk")

Ended = Callable[[JobInfo], Any]
Act = Callable[[Job], Any]
TellEnd = Callable[[], None]


class _Run(Task):
    """A job on its way through its object's lane.

    Args:
        steering: what is known of it.
        target: what it acts on; None for a function of the application.
        carry_out: runs it, and gives what then tells how it ended.
        on_done: wants to know that it has ended.
    """

    __slots__ = ("_carry_out", "_tell_end", "on_done", "steering", "target")

    def __init__(
        self, steering: Steering, target: Target | None, carry_out: Callable[[], TellEnd], on_done: Ended | None
    ) -> None:
        record = steering.record
        lane = None if target is None else target.lane
        super().__init__(None, 0, record.command, record.who, lane, lambda: None, record.client)
        self.steering, self.target, self.on_done = steering, target, on_done
        self._carry_out = carry_out
        self._tell_end: TellEnd = lambda: None

    def perform(self, codec: Codec, clock: Clock) -> list[Buffer]:
        """Run it. Never raises; there is no answer, because nobody asked."""
        self._tell_end = self._carry_out()
        return []

    def over(self) -> None:
        """Tell how it ended, now that its object is free: whoever hears of it may want to use that at once."""
        self._tell_end()


class CommandDesk:
    """All jobs of a server. May be used from any thread.

    Args:
        server: random number of the server; job ids begin with a part of it.
        exposure: what may be called.
        check_lease: refuses a call that somebody else's lease forbids.
        sessions: who lives.
        emitter: tells how jobs come along.
        perform: has something carried out in its lane, or on a thread of its own where it has none.
        codec: writes results.
        clock: the server's clock.
        limits: how many jobs there may be.
    """

    def __init__(
        self,
        *,
        server: int,
        exposure: Exposure,
        check_lease: Callable[[Target, int, float], None],
        sessions: Sessions,
        emitter: Emitter,
        perform: Callable[[Task], None],
        codec: Codec,
        clock: Clock,
        limits: Limits,
    ) -> None:
        self._life = f"{server & 0xFFFFFFFF:08x}"
        self._exposure, self._check_lease, self._sessions = exposure, check_lease, sessions
        self._emitter, self._perform = emitter, perform
        self._codec, self._clock, self._limits = codec, clock, limits
        self._lock = Lock()
        self._count = 0
        self._runs: dict[str, _Run] = {}
        self._untold = 0
        self._end_told = Condition(self._lock)
        self._ended: History[str, Steering] = History(MAX_ENTRIES, MAX_BYTES, MAX_AGE_S)
        self._stopping = Event()
        self._clerk: Thread | None = None

    # --- accepting ---------------------------------------------------------------------------------------------------

    def submit(
        self,
        path: str,
        attr_name: str,
        args: Any,
        kwargs: Any,
        *,
        timeout_s: Any = None,
        on_death: str = "keep",
        client: int = 0,
        who: str = "",
        on_done: Ended | None = None,
    ) -> JobInfo:
        """Accept a job, or refuse it; nothing of the object runs before it is accepted.

        Args:
            path: the object.
            attr_name: its method; "" for the object itself.
            args: arguments.
            kwargs: arguments by name.
            timeout_s: how long it may take, from now on; None for as long as it takes.
            on_death: what becomes of it when its client dies: "keep" or "cancel".
            client: random number of the client; 0 for the application itself.
            who: what it calls itself.
            on_done: called when it has ended, on a thread of its own.

        Raises:
            UnknownObjectError, UnknownAttributeError, NotExposedError: there is no such thing to call.
            BadArgumentsError: the arguments do not fit, or it is no function.
            LeasedError: somebody else has exclusive control.
            LimitError: there are too many jobs.
            ConfigurationError: `timeout_s` or `on_death` cannot be.
        """
        args, kwargs = check_arguments(f"{path}.{attr_name}", args, kwargs)
        if on_death not in ("keep", "cancel"):
            raise ConfigurationError(f"on_death is 'keep' or 'cancel', not {on_death!r}")
        target = self._exposure.resolve(path, attr_name)
        if target.is_property:
            raise BadArgumentsError(f"{target.where} is a property: it can be read and set, not run")
        if client:
            self._check_lease(target, client, self._clock.now())
        function = self._exposure.visible_function(target)
        if function is not None:
            if not callable(function):
                raise BadArgumentsError(f"{target.where} cannot be called, and so not run")
            shape_of(function).check(target.where, args, kwargs)
        act = partial(self._call, target, client, args, kwargs)
        record = self._record(target.where, client, who, timeout_s, dies_with_client=on_death == "cancel")
        return self._accept(record, act, target, on_done)

    def submit_function(
        self,
        name: str,
        func: Callable[..., Any],
        args: Sequence[Any] | None,
        kwargs: Mapping[str, Any] | None,
        *,
        timeout_s: Any = None,
        who: str = "",
        on_done: Ended | None = None,
    ) -> JobInfo:
        """Run any function of the application as a job, beside all others. Raises as `submit`."""
        arguments, by_name = check_arguments(name, args, kwargs)
        if not callable(func):
            raise ConfigurationError(f"job {name!r} needs a function, not {func!r}")
        shape = shape_of(func)
        shape.check(name, arguments, by_name)

        def act(job: Job) -> Any:
            given, given_by_name = shape.with_job(job, arguments, by_name)
            return func(*given, **given_by_name)

        return self._accept(self._record(name, 0, who, timeout_s), act, None, on_done)

    def _record(
        self, command: str, client: int, who: str, timeout_s: Any, *, dies_with_client: bool = False
    ) -> JobRecord:
        limit_s = check_timeout(timeout_s)
        with self._lock:
            self._check_accepting(command)
            own = sum(run.steering.record.client == client for run in self._runs.values()) if client else 0
            if len(self._runs) >= self._limits.jobs or own >= self._limits.jobs_per_client:
                raise LimitError(
                    f"{command} is not accepted: {len(self._runs)} jobs run or wait, {own} of them yours, "
                    f"and {self._limits.jobs} together or {self._limits.jobs_per_client} of one client are the limit"
                )
            self._count += 1
            job_id = f"{self._life}-{self._count}"
        return JobRecord(
            job_id,
            command,
            who or (self._sessions.name_of(client) if client else "the application"),
            client,
            submitted=self._clock.wall(),
            deadline=math.inf if limit_s is None else self._clock.now() + limit_s,
            dies_with_client=dies_with_client,
        )

    def _check_accepting(self, command: str) -> None:
        if self._stopping.is_set():
            raise JobStateError(f"{command} is not accepted: the server is being closed")

    @uninterrupted
    def _accept(self, record: JobRecord, act: Act, target: Target | None, on_done: Ended | None) -> JobInfo:
        steering = Steering(record, self._clock, self._tell)
        run = _Run(steering, target, lambda: self._carry_out(steering, act), on_done)
        run.since = self._clock.now()
        with self._lock:
            self._check_accepting(record.command)
            self._runs[record.id] = run
            self._untold += 1
        steering.announce()
        accepted = steering.info()
        self._have_clerk()
        self._perform(run)
        return accepted

    # --- asking ------------------------------------------------------------------------------------------------------

    def info(self, job_id: str) -> JobInfo:
        """One job. Raises as `find`."""
        return self._find(job_id).info()

    def all(self) -> list[JobInfo]:
        """All that run or wait, and those of the last ones that are still kept; the oldest first."""
        with self._lock:
            self._ended.forget(self._clock.now())
            steerings = [*self._ended, *(run.steering for run in self._runs.values())]
        return sorted((one.info() for one in steerings), key=lambda info: int(info.id.partition("-")[2]))

    def result(self, job_id: str) -> Any:
        """What a job gave.

        Raises:
            JobStateError: it has not ended.
            JobCancelledError, JobTimeoutError: it gave nothing.
            RemoteError: what its function raised.
        """
        steering = self._find(job_id)
        info, result = steering.info(), steering.record.result
        if result is not None:
            return self._codec.decode(result.body, result.buffers)
        if not info.state.ended:
            raise JobStateError(f"job {job_id} ({info.command}) has no result yet: it is {info.state}", id=job_id)
        raise error_of_job(info)

    def lines(self, job_id: str) -> list[str]:
        """What a job has logged; of much, the last lines."""
        return self._find(job_id).lines()

    def object_of(self, job_id: str) -> str | None:
        """The object that a job is about, for whoever has to know who may touch it."""
        try:
            return self._find(job_id).command.rpartition(".")[0]
        except OneLinerError:
            return None

    def running_calls(self) -> list[dict[str, Any]]:
        """The jobs that run or wait, as `where`, `who` and `for_s`."""
        now = self._clock.now()
        with self._lock:
            runs = list(self._runs.values())
        return [{"where": run.where, "who": run.who, "for_s": now - run.since} for run in runs]

    def _find(self, job_id: str) -> Steering:
        with self._lock:
            run = self._runs.get(job_id)
            steering = self._ended.get(job_id) if run is None else run.steering
            count = self._count
        if steering is not None:
            return steering
        life, _, number = job_id.partition("-")
        if not re.fullmatch(_ID, job_id) or (life == self._life and not 0 < int(number) <= count):
            raise UnknownJobError(f"there is no job {job_id!r}", id=job_id)
        if life == self._life:
            raise UnknownJobError(
                f"job {job_id} has ended, and what became of it is not kept any more: the last {MAX_ENTRIES} are, "
                f"for {MAX_AGE_S / 86_400:g} days, as far as they fit into {MAX_BYTES >> 20} MiB",
                id=job_id,
            )
        raise JobLostError(
            f"job {job_id} was accepted by another server, or by this one before it was restarted; "
            "it may or may not have run to its end",
            id=job_id,
        )

    # --- steering ----------------------------------------------------------------------------------------------------

    def cancel(self, job_id: str, who: str, client: int = 0) -> bool:
        """Have a job end: at once if it waits, at its next check point if it runs. False when it had ended.

        Raises:
            LeasedError: somebody else has exclusive control of its object.
            UnknownJobError, JobLostError: as they say.
        """
        steering = self._touch(job_id, client)
        if not steering.cancel(f"cancelled by {who}"):
            return False
        self._withdraw(job_id)
        return True

    def pause(self, job_id: str, client: int = 0) -> None:
        """Have a job wait at its next check point, or before it begins. Raises `JobStateError`, and as `cancel`."""
        self._touch(job_id, client).pause()

    def resume(self, job_id: str, client: int = 0) -> None:
        """Have a job go on. Raises `JobStateError`, and as `cancel`."""
        self._touch(job_id, client).resume()

    def drop(self, client: int) -> None:
        """Cancel all jobs of a client that wait for their object: it had control of something, and is dead."""
        with self._lock:
            runs = [run for run in self._runs.values() if run.client == client]
        for run in runs:
            if run.lane is not None and run.lane.withdraw(run):
                run.steering.cancel(f"cancelled because {run.who}, who had control, was taken for dead")
                self._end(run.steering, JobCancelled())

    def close(self, timeout_s: float) -> None:
        """Ask all jobs to end, and accept none any more.

        Args:
            timeout_s: how long to wait until all have ended and the end of each was told.
        """
        self._stopping.set()
        with self._lock:
            runs = list(self._runs)
        for job_id in runs:
            try:
                self._find(job_id).cancel("the server was closed")
                self._withdraw(job_id)
            except UnknownJobError:
                continue  # It has ended this moment.
        with self._lock:
            self._end_told.wait_for(lambda: not self._untold, timeout_s)

    def _touch(self, job_id: str, client: int) -> Steering:
        steering = self._find(job_id)
        run = self._runs.get(job_id)
        if client and run is not None and run.target is not None and steering.record.client != client:
            self._check_lease(run.target, client, self._clock.now())
        return steering

    def _withdraw(self, job_id: str) -> None:
        """Take a job that waits out of its lane. One that is about to run finds out by itself."""
        run = self._runs.get(job_id)
        if run is not None and run.lane is not None and run.lane.withdraw(run):
            self._end(run.steering, JobCancelled())

    # --- running -----------------------------------------------------------------------------------------------------

    def _call(self, target: Target, client: int, args: list[Any], kwargs: dict[str, Any], job: Job) -> Any:
        if client:
            # Again, because somebody may have taken control while it waited for the object.
            self._check_lease(target, client, self._clock.now())
        shape = shape_of(self._exposure.function(target))
        shape.check(target.where, args, kwargs)
        given, given_by_name = shape.with_job(job, args, kwargs)
        return self._exposure.call(target._replace(command=None), given, given_by_name)

    def _carry_out(self, steering: Steering, act: Act) -> TellEnd:
        """Run a job, in its lane. Never raises. Gives what tells how it ended."""
        if not steering.begin():
            return lambda: self._end(steering, JobCancelled())
        job = Job(steering, self._codec)
        try:
            job.check()  # It may have been paused while it waited.
            body, buffers = self._codec.encode(finished(act(job), job))
            # Copied before the lane is given up: the next call may change what this one returned.
            result = Result(bytes(body), tuple(bytes(buffer) for buffer in buffers))
        except BaseException as error:
            # Not only Exception: a driver that calls sys.exit must not take a thread of the server with it.
            raised = error
            return lambda: self._end(steering, raised)
        return lambda: steering.succeed(result)

    def _end(self, steering: Steering, error: BaseException) -> None:
        record = steering.record
        if not isinstance(error, JobCancelled):
            steering.fail(dict(fault_of(error, self._codec, record.command)))
        elif record.overdue:
            fate = "did not run" if steering.info().started is None else "was ended"
            late = JobTimeoutError(f"job {record.id} ({record.command}) {fate}: {record.reason}", id=record.id)
            steering.fail(dict(fault_of(late, self._codec, record.command)))
        else:
            steering.cancelled("it has ended itself")

    def _tell(self, record: JobRecord) -> None:
        """Something has become of a job. Called with its lock held, so that it is told in the order it happens."""
        info = record.info()
        run = None
        if info.state.ended:
            with self._lock:
                run = self._runs.pop(info.id, None)
                if run is not None:
                    size = 0 if record.result is None else record.result.size_bytes
                    size += sum(map(len, record.lines))
                    self._ended.add(info.id, run.steering, size, self._clock.now())
        try:
            self._emitter.emit(Topic.JOB_UPDATE, info.state.value, info.as_dict())
            if run is not None:
                self._emitter.emit(Topic.COMMAND_RESULT, info.command, self._outcome(info, record.result))
        except OneLinerError as error:
            _log.debug("what became of job %s cannot be told: %s", info.id, error)
        if run is not None:
            with self._lock:
                self._untold -= 1
                self._end_told.notify_all()
            if run.on_done is not None:
                BackgroundThread(partial(_call_back, run.on_done, info), "job done").start()

    def _outcome(self, info: JobInfo, result: Result | None) -> dict[str, Any]:
        told = result is not None and result.size_bytes <= MAX_TOLD_BYTES
        value = self._codec.decode(result.body, result.buffers) if told and result is not None else None
        return {**info.as_dict(), "result": value, "has_result": told}

    # --- the clerk ---------------------------------------------------------------------------------------------------

    def _have_clerk(self) -> None:
        with self._lock:
            if self._clerk is None and self._runs and not self._stopping.is_set():
                self._clerk = BackgroundThread(self._watch, "jobs", pause_s=PAUSE_S)
                self._clerk.start()

    def _watch(self) -> None:
        """Look after the jobs: whose time is up, whose client has died, what was not told yet."""
        vigil = Vigil(self._clock.now())
        while not self._stopping.wait(ROUND_S):
            now = self._clock.now()
            sees = vigil.sees(now)
            with self._lock:
                if not self._runs:
                    self._clerk = None
                    return
                runs = list(self._runs.values())
            for run in runs:
                self._look_after(run, now, sees)

    def _look_after(self, run: _Run, now: float, sees: bool) -> None:
        steering, record = run.steering, run.steering.record
        steering.tell_rest()
        if record.cancelling:
            return
        if now >= record.deadline:
            steering.cancel("its time was up", overdue=True)
        elif sees and record.dies_with_client and not self._sessions.lives(record.client, now):
            steering.cancel(f"cancelled because {record.who} is gone")
        else:
            return
        self._withdraw(record.id)


def _call_back(function: Ended, info: JobInfo) -> None:
    try:
        function(info)
    except Exception:
        _log.exception("on_done of job %s raised", info.id)
