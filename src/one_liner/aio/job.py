"""`AsyncJob`: a job, as a coroutine has it."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator
from threading import Lock
from typing import Any, Final

from one_liner.aio.bell import Bell
from one_liner.aio.callback import AsyncCallback
from one_liner.clock import SYSTEM_CLOCK
from one_liner.commands.follower import JobFollower, source_of
from one_liner.commands.handle import fate_unknown, title_of
from one_liner.commands.info import JobInfo, Progress, error_of_job
from one_liner.commands.state import JobState
from one_liner.config import check_timeout
from one_liner.errors import (
    CallTimeoutError,
    ClosedError,
    JobLostError,
    LimitError,
    OneLinerError,
    RouterDownError,
    TransportError,
    UnknownJobError,
)
from one_liner.events.hub import route_of

_FIRST_PAUSE_S: Final = 0.02
_ENDED_UNSEEN = (JobLostError, UnknownJobError)


class AsyncJob:
    """One job of a server; `await job.result()`, or `await job`. See `JobHandle` for what all this does.

    What becomes of the job comes by itself, from the first time that somebody waits for it; now and then the server is
    asked as well, in case that got lost. Throwing this away, or cancelling who waits, does nothing to the job.

    Args:
        control: asks the server.
        info: what is known of it.
        follower: tells what becomes of it.
        keep: closes callbacks together with the client.
    """

    def __init__(
        self,
        control: Callable[..., Awaitable[Any]],
        info: JobInfo,
        follower: JobFollower,
        keep: Callable[[AsyncCallback[Any]], AsyncCallback[Any]],
    ) -> None:
        self._control, self._follower, self._keep = control, follower, keep
        self._info = info
        self._lock = Lock()
        self._listeners: tuple[Callable[[], None], ...] = ()
        self._followed = False

    # --- what is known -----------------------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """Its name; with it `await client.job(id)` finds it again."""
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

    async def refresh(self) -> JobInfo:
        """Ask the server how it is. Raises as `JobHandle.refresh`."""
        self.heard(JobInfo.from_dict(await self._control(self.id, "job"), route_of(source_of(self.id))))
        return self._info

    async def log(self) -> list[str]:
        """What it has logged so far; of much, the last lines."""
        return list(await self._control(self.id, "job_log"))

    # --- waiting -----------------------------------------------------------------------------------------------------

    async def wait(self, timeout_s: float | None = None) -> JobState:
        """Wait until it has ended, however that was. Raises as `JobHandle.wait`."""
        limit_s = check_timeout(timeout_s)
        if not await self._wait_for(lambda: self.done, limit_s):
            raise CallTimeoutError(
                f"{title_of(self._info)} is {self.state} after {limit_s:g} s, and goes on", id=self.id
            )
        return self.state

    async def exception(self, timeout_s: float | None = None) -> OneLinerError | None:
        """Wait until it has ended. Gives what `result` raises for that; None if it succeeded. Raises as `wait`."""
        await self.wait(timeout_s)
        return None if self.state is JobState.SUCCEEDED else error_of_job(self._info)

    async def result(self, timeout_s: float | None = None) -> Any:
        """Wait for what it gives. Raises what it raised, and as `JobHandle.result`."""
        error = await self.exception(timeout_s)
        if error is not None:
            raise error
        try:
            return await self._control(self.id, "job_result")
        except TransportError as trouble:
            raise fate_unknown(self._info, trouble) from None

    def __await__(self) -> Generator[Any, None, Any]:
        return self.result().__await__()

    async def updates(self, timeout_s: float | None = None) -> AsyncIterator[JobInfo]:
        """What becomes of it, from now to its end. Whoever is slow gets the newest. Raises as `JobHandle.updates`."""
        limit_s = check_timeout(timeout_s)
        info = self._info
        yield info
        while not info.state.ended:
            if not await self._wait_for(self._changed_since(info.revision), limit_s):
                raise CallTimeoutError(f"nothing has become of {title_of(info)} within {limit_s:g} s", id=self.id)
            info = self._info
            yield info

    # --- callbacks ---------------------------------------------------------------------------------------------------

    def on_progress(self, callback: Callable[[Progress], Any]) -> AsyncCallback[Any]:
        """Call a function with the progress, now and whenever something has changed; see `AsyncCallback`.

        A slow function is called with the newest. It ends with the job; close what is returned to end it before.
        """
        return self._call_with(callback, self._told(lambda info: info.progress))

    def on_update(self, callback: Callable[[JobInfo], Any]) -> AsyncCallback[Any]:
        """The same with everything that is known of the job, whenever anything of it has changed."""
        return self._call_with(callback, self._told(lambda info: info))

    def on_done(self, callback: Callable[[AsyncJob], Any]) -> AsyncCallback[Any]:
        """Call a function with this job once it has ended, or is lost; see `AsyncCallback`."""
        return self._call_with(callback, self._end())

    # --- steering ----------------------------------------------------------------------------------------------------

    async def cancel(self) -> bool:
        """Have it end; False when it had ended before. As `JobHandle.cancel`."""
        return bool(await self._steer("cancel_job"))

    async def pause(self) -> None:
        """Have it wait at its next check point. As `JobHandle.pause`."""
        await self._steer("pause_job")

    async def resume(self) -> None:
        """Have it go on. As `JobHandle.resume`."""
        await self._steer("resume_job")

    def __repr__(self) -> str:
        return f"<async job {self.id}, {self.command}: {self.state}>"

    # --- inside ------------------------------------------------------------------------------------------------------

    def heard(self, info: JobInfo) -> None:
        """Something has become of it; called by whoever receives that, on any thread."""
        with self._lock:
            if info.revision < self._info.revision:
                return  # It was overtaken on the way.
            self._info = info
            listeners = self._listeners
        for listener in listeners:
            listener()

    def _listen(self, listener: Callable[[], None]) -> None:
        with self._lock:
            self._listeners = (*self._listeners, listener)

    def _unlisten(self, listener: Callable[[], None]) -> None:
        with self._lock:
            self._listeners = tuple(other for other in self._listeners if other != listener)

    def _changed_since(self, revision: int) -> Callable[[], bool]:
        return lambda: self._info.revision != revision

    async def _wait_for(self, reached: Callable[[], bool], limit_s: float | None = None) -> bool:
        """Wait until something is so, and ask the server now and then. False when it was not so in time."""
        if reached():
            return True
        deadline = math.inf if limit_s is None else SYSTEM_CLOCK.now() + limit_s
        pause_s = _FIRST_PAUSE_S
        if not self._followed:
            self._followed = True
            self._follower.follow(self)
        with Bell(self._listen, self._unlisten) as bell:
            while not reached():
                remaining_s = deadline - SYSTEM_CLOCK.now()
                if remaining_s <= 0:
                    return False
                if not await bell.wait(min(pause_s, remaining_s)):
                    await self._look()
                    pause_s = min(2 * pause_s, self._follower.heartbeat_s)
        return True

    async def _look(self) -> None:
        """Ask the server, in case an update was lost."""
        try:
            await self.refresh()
        except (CallTimeoutError, LimitError):
            return  # It is busy, and says nothing about the job.
        except (JobLostError, RouterDownError):
            raise
        except TransportError as error:
            raise fate_unknown(self._info, error) from None

    async def _steer(self, word: str) -> Any:
        answer = await self._control(self.id, word)
        await self._look()
        return answer

    def _call_with(self, callback: Callable[[Any], Any], items: AsyncGenerator[Any, None]) -> AsyncCallback[Any]:
        return self._keep(AsyncCallback(f"job {self.id}", callback, items))

    async def _changes(self) -> AsyncGenerator[JobInfo, None]:
        """What is known now, and whatever becomes of it, also while the server is away; raises when it is lost."""
        revision = -1
        while not (self.done and revision == self._info.revision):
            try:
                await self._wait_for(self._changed_since(revision))
            except (*_ENDED_UNSEEN, ClosedError):
                raise
            except OneLinerError:
                await asyncio.sleep(self._follower.heartbeat_s)  # The server may come back.
                continue
            info = self._info
            revision = info.revision
            yield info

    async def _told(self, of: Callable[[JobInfo], Any]) -> AsyncGenerator[Any, None]:
        with contextlib.suppress(*_ENDED_UNSEEN, ClosedError):
            async with contextlib.aclosing(self._changes()) as changes:
                async for info in changes:
                    yield of(info)

    async def _end(self) -> AsyncGenerator[AsyncJob, None]:
        try:
            async with contextlib.aclosing(self._changes()) as changes:
                async for _ in changes:
                    pass
        except _ENDED_UNSEEN:
            pass  # That is an end, too.
        except ClosedError:
            return
        yield self
