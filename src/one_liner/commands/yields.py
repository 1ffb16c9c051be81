"""Commands that are generators: what they yield is their progress, what they return their result."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from numbers import Real
from types import AsyncGeneratorType, GeneratorType
from typing import Any

from one_liner.commands.info import Progress
from one_liner.commands.job import Job
from one_liner.commands.steering import JobCancelled
from one_liner.errors import OneLinerError


def finished(value: Any, job: Job) -> Any:
    """The result of a function that was called: of a generator, what it returns once it was run to its end.

    Raises:
        JobCancelled: its job was cancelled, and it has heeded that.
        Exception: whatever the generator raises.
    """
    if isinstance(value, GeneratorType):
        return _drive(value, job)
    if isinstance(value, AsyncGeneratorType):
        import asyncio  # Not everybody's 30 ms.

        return asyncio.run(_drive_async(value, job))
    return value


def report(item: Any, job: Job) -> None:
    """Take one thing that was yielded as progress.

    A number is the fraction, text the message, a tuple or a `Progress` fraction, message and data; None is a mere check
    point. Anything else is the data.
    """
    if item is None:
        job.check()
    elif isinstance(item, str):
        job.progress(message=item)
    elif isinstance(item, Real) and not isinstance(item, bool):
        job.progress(item)  # type: ignore[arg-type]  # a Real of any kind is checked there
    elif isinstance(item, Progress) or _is_triple(item):
        job.progress(*item)
    else:
        job.progress(data=item)


def _is_triple(item: Any) -> bool:
    return (
        type(item) is tuple
        and 1 <= len(item) <= 3
        and (item[0] is None or isinstance(item[0], Real))
        and (len(item) < 2 or item[1] is None or isinstance(item[1], str))
    )


def _drive(generator: Generator[Any, Any, Any], job: Job) -> Any:
    try:
        item = next(generator)
        while True:
            try:
                report(item, job)
            except (JobCancelled, OneLinerError) as error:
                # Raised where it yielded, so that its `finally` runs, and its traceback says where.
                item = generator.throw(error)
            else:
                item = next(generator)
    except StopIteration as end:
        return end.value


async def _drive_async(generator: AsyncGenerator[Any, Any], job: Job) -> None:
    try:
        item = await anext(generator)
        while True:
            try:
                report(item, job)
            except (JobCancelled, OneLinerError) as error:
                item = await generator.athrow(error)
            else:
                item = await anext(generator)
    except StopAsyncIteration:
        return
