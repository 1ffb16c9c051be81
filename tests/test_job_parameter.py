"""How a function asks for its job, and what it yields as progress."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, Optional

import pytest

import one_liner.commands.job
from one_liner.commands.info import Progress
from one_liner.commands.job import Job, unwatched_job
from one_liner.commands.parameter import Shape, generates
from one_liner.commands.steering import JobCancelled
from one_liner.commands.yields import finished, report
from one_liner.errors import BadArgumentsError, ConfigurationError

if TYPE_CHECKING:
    from one_liner.commands.job import Job as OnlyForCheckers


class Elsewhere:
    class Job:
        """Somebody else's."""


def given(func: Any, *args: Any, **kwargs: Any) -> Any:
    """What the function gets when it is run as a job."""
    shape = Shape.of(func)
    shape.check("f", args, kwargs)
    with_job, by_name = shape.with_job(unwatched_job("f"), args, kwargs)
    return func(*with_job, **by_name)


def first(job: Job, a: int, b: int = 2) -> Any:
    return isinstance(job, Job), a, b


def middle(a: int, job: Job, b: int = 2) -> Any:
    return isinstance(job, Job), a, b


def last(a: int, b: int = 2, job: Job | None = None) -> Any:
    return isinstance(job, Job), a, b


def by_name(a: int, b: int = 2, *, job: Job) -> Any:
    return isinstance(job, Job), a, b


def only_by_position(a: int, b: int = 2, job: Optional[Job] = None, /) -> Any:  # noqa: UP045
    return isinstance(job, Job), a, b


def dotted(a: int, b: int = 2, job: one_liner.commands.job.Job | None = None) -> Any:
    return isinstance(job, Job), a, b


@pytest.mark.parametrize("func", [first, middle, last, by_name, only_by_position, dotted])
def test_the_job_goes_where_it_was_asked_for(func: Any) -> None:
    shape = Shape.of(func)
    assert shape.job is not None
    assert shape.signature is not None
    assert list(shape.signature.parameters) == ["a", "b"]
    assert given(func, 1) == (True, 1, 2)
    assert given(func, 1, 5) == (True, 1, 5)
    if func is not only_by_position:
        assert given(func, 1, b=5) == (True, 1, 5)
        assert given(func, a=1, b=5) == (True, 1, 5)
    for args in ((), (1, 2, 3), (1, 2, 3, 4)):
        with pytest.raises(BadArgumentsError, match=r"f\(a: 'int'|f\(a: int"):
            given(func, *args)
    with pytest.raises(BadArgumentsError):
        given(func, 1, job=5)


def test_the_rest_goes_where_it_belongs() -> None:
    def func(a: int, job: Job, *rest: int, c: int = 0, **others: int) -> Any:
        return isinstance(job, Job), a, rest, c, others

    assert given(func, 1, 2, 3, c=4, d=5) == (True, 1, (2, 3), 4, {"d": 5})


def test_annotations_that_are_no_text() -> None:
    def func(a: int, job: Any = None) -> Any:
        return isinstance(job, Job), a

    for annotation in (Job, Job | None, Optional[Job], "Job"):  # noqa: UP045
        func.__annotations__["job"] = annotation
        assert given(func, 1) == (True, 1)
    func.__annotations__["job"] = Elsewhere.Job
    assert Shape.of(func).job is None


def test_other_kinds_of_functions() -> None:
    class Stage:
        def scan(self, job: Job, a: int) -> Any:
            return isinstance(job, Job), a

        def __call__(self, a: int, job: Job) -> Any:
            return isinstance(job, Job), a

        @classmethod
        def of_class(cls, job: Job) -> bool:
            return isinstance(job, Job)

    @wraps(first)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return first(*args, **kwargs)

    stage = Stage()
    assert given(stage.scan, 1) == (True, 1)
    assert given(stage, 1) == (True, 1)
    assert given(stage.of_class) is True
    assert given(wrapped, 1) == (True, 1, 2)
    assert given(partial(middle, 1)) == (True, 1, 2)


def test_what_asks_for_none() -> None:
    def of_another(job: Elsewhere.Job) -> Any: ...
    def a_list(job: list[Job]) -> Any: ...
    def many(*jobs: Job, **more: Job) -> Any: ...
    def bare(job) -> Any: ...
    def other_word(job: JobInfo) -> Any: ...  # type: ignore[name-defined]  # noqa: F821

    for func in (of_another, a_list, many, bare, other_word):
        assert Shape.of(func).job is None
    assert Shape.of(5).signature is None
    Shape.of(5).check("five", [1], {})
    assert Shape.of(5).with_job(unwatched_job("f"), [1], {}) == ([1], {})
    assert given(len, "abc") == 3


def test_a_name_that_only_checkers_know_is_taken_at_its_word() -> None:
    def imported(job: OnlyForCheckers) -> Any: ...
    def unknown(job: nowhere.Job) -> Any: ...  # type: ignore[name-defined]  # noqa: F821

    assert Shape.of(unknown).job is not None
    assert Shape.of(imported).job is None, "it is called something else"


def test_generators_are_known() -> None:
    def plain() -> Any: ...
    def generator() -> Iterator[int]:
        yield 1

    async def async_generator() -> AsyncIterator[int]:
        yield 1

    assert [generates(one) for one in (plain, generator, async_generator)] == [False, True, True]


class Told:
    """Stands in for a job, and notes what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.cancel_at = 99

    def progress(self, fraction: Any = None, message: Any = None, data: Any = None) -> None:
        if fraction is not None and fraction > 1:
            raise ConfigurationError("beyond 1")
        self.told.append((fraction, message, data))
        self.check()

    def check(self) -> None:
        if len(self.told) >= self.cancel_at:
            raise JobCancelled("cancelled")


@pytest.mark.parametrize(
    ("item", "told"),
    [
        (0.5, (0.5, None, None)),
        (1, (1, None, None)),
        ("text", (None, "text", None)),
        ((0.5,), (0.5, None, None)),
        ((0.5, "text"), (0.5, "text", None)),
        ((None, "text", {"a": 1}), (None, "text", {"a": 1})),
        (Progress(0.5, "text", 3), (0.5, "text", 3)),
        ({"a": 1}, (None, None, {"a": 1})),
        (True, (None, None, True)),
        ((1, 2, 3, 4), (None, None, (1, 2, 3, 4))),
        ((0.1, 0.2), (None, None, (0.1, 0.2))),
        ((), (None, None, ())),
    ],
)
def test_what_is_yielded_is_progress(item: Any, told: Any) -> None:
    job = Told()
    report(item, job)  # type: ignore[arg-type]
    assert job.told == [told]


def test_yielding_nothing_is_a_check_point() -> None:
    job = Told()
    report(None, job)  # type: ignore[arg-type]
    assert job.told == []
    job.cancel_at = 0
    with pytest.raises(JobCancelled):
        report(None, job)  # type: ignore[arg-type]


def test_a_generator_is_run_to_its_end() -> None:
    def scan() -> Any:
        yield 0.5
        yield "nearly"
        return "result"

    job: Any = Told()
    assert finished(scan(), job) == "result"
    assert job.told == [(0.5, None, None), (None, "nearly", None)]
    assert finished(5, job) == 5


def test_a_cancelled_generator_tidies_up() -> None:
    steps: list[str] = []

    def scan() -> Any:
        try:
            yield 0.1
            yield 0.2
            steps.append("not reached")
        finally:
            steps.append("lamp off")

    job: Any = Told()
    job.cancel_at = 2
    with pytest.raises(JobCancelled):
        finished(scan(), job)
    assert steps == ["lamp off"]


def test_a_mistake_in_what_is_yielded_is_raised_where_it_was_yielded() -> None:
    caught: list[Exception] = []

    def scan() -> Any:
        try:
            yield 5.0
        except ConfigurationError as error:
            caught.append(error)
        yield 0.5
        return "went on"

    job: Any = Told()
    assert finished(scan(), job) == "went on"
    assert [str(error) for error in caught] == ["beyond 1"]


def test_async_generators_too() -> None:
    steps: list[str] = []

    async def scan() -> AsyncIterator[Any]:
        try:
            yield 0.1
            await asyncio.sleep(0)
            yield 0.2
        finally:
            steps.append("lamp off")

    job: Any = Told()
    assert finished(scan(), job) is None
    job.cancel_at = 3
    with pytest.raises(JobCancelled):
        finished(scan(), job)
    assert steps == ["lamp off", "lamp off"]
    assert len(job.told) == 3
