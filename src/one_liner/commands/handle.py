"""A job, as a client has it: to be watched, waited for, paused and cancelled."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Generator, Iterator
from threading import Condition
from typing import Any, Final

from one_liner.callbacks import Callback
from one_liner.clock import SYSTEM_CLOCK
from one_liner.commands.follower import JobFollower
from one_liner.commands.info import JobInfo, Progress, error_of_job
from one_liner.commands.state import JobState
from one_liner.config import check_timeout
from one_liner.errors import (
    CallTimeoutError,
    JobLostError,
    LimitError,
    OneLinerError,
    RouterDownError,
    TransportError,
    UnknownJobError,
)

_FIRST_PAUSE_S: Final = 0.02
_NOTHING: Final = object()


class JobHandle:
    """One job of a server. May be used from any thread, by any client, and made anew from the id.

    What becomes of the job comes by itself; now and then the server is asked as well, in case that got lost. Throwing
    the handle away does nothing to the job.

    Args:
        info: what is known of it.
        follower: what all handles of this client share.
        keep: closes callbacks together with the client.
    """

    def __init__(self, info: JobInfo, follower: JobFollower, keep: Callable[[Callback[Any]], Callback[Any]]) -> None:
        self._info = info
        self._follower, self._keep = follower, keep
        self._changed = Condition()
        self._result: Any = _NOTHING
        self._wakers: list[Callable[[], None]] = []
        follower.follow(self)

    # --- what is known -----------------------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """Its name; with it `client.job(id)` finds it again, from any client."""
        return self._info.id

    @property
    def command(self) -> str:
        """What it does: `stage.scan`."""
        return self._info.command

    @property
    def info(self) -> JobInfo:
        """All that is known of it here; the server is not asked."""
        return self._info

    @property
    def state(self) -> JobState:
        """Where it stands: pending, running, paused, succeeded, failed or cancelled (also a str)."""
        return self._info.state

    @property
    def progress(self) -> Progress:
        """How far it has come: fraction, message, data."""
        return self._info.progress

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return self._info.state.ended

    def refresh(self) -> JobInfo:
        """Ask the server. Raises `UnknownJobError`, `JobLostError`, and as `RouterClient.call`."""
        self.heard(self._follower.ask(self.id))
        return self._info

    def log(self) -> list[str]:
        """What it has logged so far; of much, the last lines. Asks the server."""
        return list(self._follower.control(self.id, "job_log"))

    # --- waiting -----------------------------------------------------------------------------------------------------

    def wait(self, timeout_s: float | None = None) -> JobState:
        """Wait until it has ended, however that was.

        Args:
            timeout_s: how long, in s; None as long as its server lives.

        Raises:
            CallTimeoutError: it has not ended yet, and goes on; also a `TimeoutError`.
            JobLostError: its server was restarted; it may or may not have run to its end.
            UnknownJobError: it ended long ago, and nothing of that is kept any more.
            ServerLostError, RouterDownError, ClosedError: nobody can say how it is; it may go on.
        """
        limit_s = check_timeout(timeout_s)
        if not self._wait_for(lambda: self.done, limit_s):
            raise CallTimeoutError(f"{self._title} is {self.state} after {limit_s:g} s, and goes on", id=self.id)
        return self.state

    def result(self, timeout_s: float | None = None) -> Any:
        """Wait for what it gives.

        Args:
            timeout_s: how long, in s; None as long as its server lives.

        Raises:
            RemoteError: its function raised. Also an exception of the builtin type that it raised.
            JobCancelledError: it was cancelled.
            JobTimeoutError: the time that it was given is up; also a `TimeoutError`.
            CallTimeoutError, JobLostError, …: as `wait`.
        """
        error = self.exception(timeout_s)
        if error is not None:
            raise error
        if self._result is _NOTHING:
            try:
                self._result = self._follower.control(self.id, "job_result")
            except TransportError as trouble:
                raise fate_unknown(self._info, trouble) from None
        return self._result

    def exception(self, timeout_s: float | None = None) -> OneLinerError | None:
        """Wait until it has ended. Gives what `result` raises for that; None if it succeeded. Raises as `wait`."""
        self.wait(timeout_s)
        return None if self.state is JobState.SUCCEEDED else error_of_job(self._info)

    def __await__(self) -> Generator[Any, None, Any]:
        return self._awaited().__await__()

    async def _awaited(self) -> Any:
        """As `result`, without a thread that waits; to end this does not end the job."""
        import asyncio

        loop, ended = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # The loop was closed: nobody waits any more.
                loop.call_soon_threadsafe(ended.set)

        with self._changed:
            self._wakers.append(wake)
        try:
            pause_s = _FIRST_PAUSE_S
            while not self.done:
                try:
                    await asyncio.wait_for(ended.wait(), pause_s)
                except TimeoutError:
                    await asyncio.to_thread(self._look)
                pause_s = min(2 * pause_s, self._follower.heartbeat_s)
        finally:
            with self._changed:
                self._wakers.remove(wake)
        return await asyncio.to_thread(self.result)

    def updates(self, timeout_s: float | None = None) -> Iterator[JobInfo]:
        """What becomes of it, from now to its end: `for info in job.updates(): print(info.progress)`.

        Whoever is slow gets the newest.

        Args:
            timeout_s: how long to wait for the next one; None as long as its server lives.

        Raises:
            CallTimeoutError: nothing has become of it in time. And as `wait`.
        """
        limit_s = check_timeout(timeout_s)
        info = self._info
        yield info
        while not info.state.ended:
            revision = info.revision
            if not self._wait_for(lambda: self._info.revision != revision, limit_s):  # noqa: B023
                raise CallTimeoutError(f"nothing has become of {self._title} within {limit_s:g} s", id=self.id)
            info = self._info
            yield info

    # --- callbacks ---------------------------------------------------------------------------------------------------

    def on_progress(self, callback: Callable[[Progress], Any]) -> Callback[Any]:
        """Call a function with the progress, now and whenever something has changed, on a thread of its own.

        A slow function is called with the newest. It ends with the job; close what is returned to end it before.
        """
        return self._call_with_changes(callback, lambda info: info.progress)

    def on_update(self, callback: Callable[[JobInfo], Any]) -> Callback[Any]:
        """The same with everything that is known of the job, whenever anything of it has changed."""
        return self._call_with_changes(callback, lambda info: info)

    def on_done(self, callback: Callable[[JobHandle], Any]) -> Callback[Any]:
        """Call a function with this handle once the job has ended, or is lost, on a thread of its own."""
        watch = _Watch(self)

        def next_item() -> JobHandle:
            if watch.told:
                raise StopIteration
            try:
                watch.wait(lambda: self.done)
            except (JobLostError, UnknownJobError):
                pass  # That is an end, too.
            watch.told = True
            return self

        return self._keep(Callback(f"end of {self.id}", callback, next_item, watch.close))

    # --- steering ----------------------------------------------------------------------------------------------------

    def cancel(self) -> bool:
        """Have it end: at once if it waits for its object, at its next check point if it runs.

        A function without check points runs to its end. `wait` or `result` tell how it ended.

        Returns:
            False when it had ended before.

        Raises:
            LeasedError, RefusedError: others may, we may not. And as `refresh`.
        """
        return bool(self._steer("cancel_job"))

    def pause(self) -> None:
        """Have it wait at its next check point, or before it begins; it keeps its object meanwhile.

        Raises:
            JobStateError: it has ended, or is about to. And as `cancel`.
        """
        self._steer("pause_job")

    def resume(self) -> None:
        """Have it go on. Raises as `pause`."""
        self._steer("resume_job")

    # --- showing -----------------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        return f"<{self._title}: {self.state}{f', {self.progress}' if str(self.progress) else ''}>"

    def _repr_html_(self) -> str:
        """A bar for notebooks, as it stands now; `show` keeps it moving."""
        import html  # Only notebooks need it.

        fraction = 1.0 if self.state is JobState.SUCCEEDED else self.progress.fraction
        value = "" if fraction is None and not self.done else f' value="{fraction or 0.0:.4f}"'
        text = html.escape(" ".join(part for part in (str(self.progress), self.info.reason) if part))
        return (
            f'<div><code>{html.escape(self.command)}</code> <progress max="1"{value}></progress> '
            f"{html.escape(self.state.value)} {text}</div>"
        )

    def show(self) -> JobState:
        """Show a bar that moves, in a terminal or a notebook, until it has ended. Ctrl-C ends the bar, not the job.

        Raises:
            MissingExtraError: in a terminal it takes `pip install "one_liner[cli]"`. And as `wait`.
        """
        from one_liner.commands.bar import show

        return show(self)

    # --- inside ------------------------------------------------------------------------------------------------------

    def heard(self, info: JobInfo) -> None:
        """Something has become of it; called by whoever receives that."""
        with self._changed:
            if info.revision < self._info.revision:
                return  # It was overtaken on the way.
            self._info = info
            self._changed.notify_all()
            wakers = list(self._wakers) if info.state.ended else []
        for wake in wakers:
            wake()

    @property
    def _title(self) -> str:
        return title_of(self._info)

    def _look(self) -> None:
        """Ask the server, in case an update was lost."""
        try:
            self.refresh()
        except (CallTimeoutError, LimitError):
            return  # It is busy, and says nothing about the job.
        except (JobLostError, RouterDownError):
            raise
        except TransportError as error:
            raise fate_unknown(self._info, error) from None

    def _steer(self, word: str) -> Any:
        answer = self._follower.control(self.id, word)
        self._look()
        return answer

    def _wait_for(self, reached: Callable[[], bool], limit_s: float | None) -> bool:
        """Wait until something is so, and ask the server now and then. False when it was not so in time."""
        deadline = math.inf if limit_s is None else SYSTEM_CLOCK.now() + limit_s
        pause_s = _FIRST_PAUSE_S
        while not reached():
            remaining_s = deadline - SYSTEM_CLOCK.now()
            if remaining_s <= 0:
                return False
            with self._changed:
                if self._changed.wait_for(reached, min(pause_s, remaining_s)):
                    break
            self._look()
            pause_s = min(2 * pause_s, self._follower.heartbeat_s)
        return True

    def _call_with_changes(self, callback: Callable[[Any], Any], of: Callable[[JobInfo], Any]) -> Callback[Any]:
        watch = _Watch(self)
        revision = -1

        def next_item() -> Any:
            nonlocal revision
            if revision == self._info.revision and self.done:
                raise StopIteration
            try:
                watch.wait(lambda: self._info.revision != revision)
            except (JobLostError, UnknownJobError):
                raise StopIteration from None
            info = self._info
            revision = info.revision
            return of(info)

        return self._keep(Callback(f"progress of {self.id}", callback, next_item, watch.close))


def title_of(info: JobInfo) -> str:
    """How a job is called in errors."""
    return f"job {info.id} ({info.command})"


def fate_unknown(info: JobInfo, error: TransportError) -> TransportError:
    """The same error, which says what that means for a job."""
    reason = error.message.partition("; the call may")[0].partition("; nothing was sent")[0]
    return type(error)(
        f"{title_of(info)} may or may not run to its end: {reason}; if its server lives, client.job({info.id!r}) "
        "finds it again",
        **error.details,
    )


class _Watch:
    """Waits for one callback of a job, also while the server is away, until it is closed.

    Attributes:
        told: whether the callback has had its last item.
    """

    def __init__(self, job: JobHandle) -> None:
        self.told = False
        self._job = job
        self._closed = False

    def close(self) -> None:
        """Wait no longer."""
        with self._job._changed:
            self._closed = True
            self._job._changed.notify_all()

    def wait(self, reached: Callable[[], bool]) -> None:
        """Wait until something is so.

        Raises:
            StopIteration: closed.
            JobLostError, UnknownJobError: nothing more will be heard of the job.
        """
        job = self._job
        while not self._closed and not reached():
            try:
                job._wait_for(lambda: self._closed or reached(), None)
            except (JobLostError, UnknownJobError):
                raise
            except OneLinerError:
                with job._changed:  # The server may come back.
                    job._changed.wait_for(lambda: self._closed or reached(), job._follower.heartbeat_s)
        if self._closed:
            raise StopIteration
