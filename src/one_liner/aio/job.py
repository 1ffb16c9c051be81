"""`AsyncJob`: a job, as a coroutine has it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

from one_liner.aio.bell import LOOK_EVERY_S
from one_liner.commands.follower import source_of
from one_liner.commands.info import JobInfo, error_of_job
from one_liner.commands.state import JobState
from one_liner.events.hub import route_of

_FIRST_LOOK_S: Final = 0.02


class AsyncJob:
    """One job of a server; `await job.result()`. What it says of itself is as new as the last answer.

    Args:
        control: asks the server.
        info: what is known of it.

    Attributes:
        info: all that is known of it: `id`, `command`, `state`, `progress`, …
    """

    def __init__(self, control: Callable[..., Awaitable[Any]], info: JobInfo) -> None:
        self._control = control
        self.info = info

    @property
    def id(self) -> str:
        """Its name; with it `await client.job(id)` finds it again."""
        return self.info.id

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return self.info.state.ended

    async def refresh(self) -> JobInfo:
        """Ask the server how it is."""
        self.info = JobInfo.from_dict(await self._control(self.id, "job"), route_of(source_of(self.id)))
        return self.info

    async def updates(self) -> AsyncIterator[JobInfo]:
        """What becomes of it, from now to its end. Whoever is slow gets the newest."""
        info, pause_s = self.info, _FIRST_LOOK_S
        yield info
        while not info.state.ended:
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LOOK_EVERY_S)
            before, info = info, await self.refresh()
            if info.revision != before.revision:
                yield info

    async def wait(self) -> JobInfo:
        """Wait until it has ended, however that was; `asyncio.timeout` says for how long."""
        async for info in self.updates():
            self.info = info
        return self.info

    async def result(self) -> Any:
        """Wait for what it gives. Raises what it raised, and as `JobHandle.result`."""
        await self.wait()
        if self.info.state is not JobState.SUCCEEDED:
            raise error_of_job(self.info)
        return await self._control(self.id, "job_result")

    async def log(self) -> list[str]:
        """What it has logged so far; of much, the last lines."""
        return list(await self._control(self.id, "job_log"))

    async def cancel(self) -> bool:
        """Have it end; False when it had ended before. As `JobHandle.cancel`."""
        return bool(await self._control(self.id, "cancel_job"))

    async def pause(self) -> None:
        """Have it wait at its next check point."""
        await self._control(self.id, "pause_job")

    async def resume(self) -> None:
        """Have it go on."""
        await self._control(self.id, "resume_job")

    def __repr__(self) -> str:
        return f"<async job {self.id}, {self.info.command}: {self.info.state}>"
