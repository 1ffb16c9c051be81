"""What may become of a job, by arithmetic: states, progress, check points, time by hand."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest

from one_liner.commands.info import JobInfo, Progress, check_fraction, error_of_job
from one_liner.commands.job import MAX_DATA_BYTES, Job, unwatched_job
from one_liner.commands.record import MAX_LINES, JobRecord, Result
from one_liner.commands.state import FOLLOWING, JobState
from one_liner.commands.steering import TELLING_PERIOD_S, JobCancelled, Steering
from one_liner.errors import (
    ConfigurationError,
    JobCancelledError,
    JobStateError,
    MalformedError,
    NotCarriableError,
    RemoteError,
)
from one_liner.testing import FakeClock
from one_liner.wire.codec import Codec
from one_liner.wire.faults import fault_of
from tests.conftest import poll_until

FAULT: dict[str, Any] = dict(fault_of(ValueError("no"), Codec(), "stage.scan"))


def record(**arguments: Any) -> JobRecord:
    return JobRecord("1-1", "stage.scan", "ann", 7, submitted=100.0, **arguments)


def to(state: JobState) -> JobRecord:
    """A record in this state."""
    job = record()
    if state is JobState.PENDING:
        return job
    job.begin(101.0)
    ways: dict[JobState, Callable[[], Any]] = {
        JobState.RUNNING: lambda: None,
        JobState.PAUSED: job.halt,
        JobState.SUCCEEDED: lambda: job.succeed(Result(b"\xc0"), 102.0),
        JobState.FAILED: lambda: job.fail(FAULT, 102.0),
        JobState.CANCELLED: lambda: job.cancel(102.0, "why not"),
    }
    ways[state]()
    return job


STEPS: dict[JobState, Callable[[JobRecord], Any]] = {
    JobState.RUNNING: lambda job: job.begin(1.0),
    JobState.SUCCEEDED: lambda job: job.succeed(Result(b""), 1.0),
    JobState.FAILED: lambda job: job.fail(FAULT, 1.0),
    JobState.CANCELLED: lambda job: job.cancel(1.0),
}


@pytest.mark.parametrize(("before", "after"), list(product(JobState, STEPS)))
def test_every_step_is_allowed_or_refused(before: JobState, after: JobState) -> None:
    job = to(before)
    assert job.state is before
    if after in FOLLOWING[before]:
        STEPS[after](job)
        assert job.state is after
    else:
        with pytest.raises(JobStateError, match=f"cannot become {after}: it is {before}") as refusal:
            STEPS[after](job)
        assert refusal.value.details == {"id": "1-1", "state": before.value}
        assert job.state is before


def test_three_states_are_ends() -> None:
    assert {state for state in JobState if state.ended} == {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}


def test_a_job_that_succeeds() -> None:
    job = record()
    job.begin(101.0)
    job.move(0.5, "half way")
    job.log("hello")
    job.succeed(Result(b"abc", (b"de",)), 102.0)
    info = job.info()
    assert (info.state, info.started, info.ended, info.lines) == (JobState.SUCCEEDED, 101.0, 102.0, 1)
    assert info.progress == Progress(1.0, "half way", None)
    assert job.result is not None
    assert job.result.size_bytes == 5


def test_one_that_told_no_fraction_is_told_none_at_its_end() -> None:
    assert to(JobState.SUCCEEDED).progress.fraction is None


def test_asked_to_end_but_done_is_done() -> None:
    job = to(JobState.RUNNING)
    assert job.ask_to_end("cancelled by bob")
    assert job.info().cancelling
    assert not job.ask_to_end("cancelled by eve"), "the first one counts"
    job.succeed(Result(b""), 2.0)
    assert (job.info().reason, job.info().cancelling) == ("", False)


def test_why_it_ended() -> None:
    cancelled = to(JobState.RUNNING)
    cancelled.ask_to_end("cancelled by bob")
    cancelled.cancel(2.0, "it has ended itself")
    assert cancelled.info().reason == "cancelled by bob"
    assert to(JobState.CANCELLED).info().reason == "why not"
    assert to(JobState.FAILED).info().reason == "ValueError: no"
    overdue = to(JobState.RUNNING)
    overdue.ask_to_end("its time was up", overdue=True)
    overdue.fail(FAULT, 2.0)
    assert overdue.info().reason == "its time was up"
    assert not to(JobState.CANCELLED).ask_to_end("again")


@pytest.mark.parametrize("state", [JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED])
def test_what_has_ended_cannot_be_paused(state: JobState) -> None:
    with pytest.raises(JobStateError, match=f"cannot be paused: it is {state}"):
        to(state).ask_to_pause()


def test_pause_and_resume() -> None:
    job = to(JobState.RUNNING)
    job.ask_to_pause()
    assert job.has_to_wait
    assert job.halt()
    assert not job.halt(), "known already"
    job.ask_to_pause()
    assert job.info().state is JobState.PAUSED
    job.ask_to_resume()
    assert not job.has_to_wait
    assert job.go_on()
    assert not job.go_on()
    job.ask_to_resume()
    with pytest.raises(JobStateError, match="cannot be resumed"):
        to(JobState.FAILED).ask_to_resume()


def test_what_is_to_end_does_not_wait() -> None:
    job = to(JobState.RUNNING)
    job.ask_to_pause()
    job.ask_to_end("cancelled by bob")
    assert not job.has_to_wait
    with pytest.raises(JobStateError, match="it is asked to end"):
        job.ask_to_pause()


def test_progress_after_the_end_is_refused() -> None:
    with pytest.raises(JobStateError, match="cannot progress: it is succeeded"):
        to(JobState.SUCCEEDED).move(0.5)


@pytest.mark.parametrize("fraction", [1.0000001, -0.01, 2, math.nan, math.inf, -math.inf, "half", True, [0.5]])
def test_progress_beyond_its_bounds(fraction: Any) -> None:
    job = to(JobState.RUNNING)
    job.move(0.25, "a")
    with pytest.raises(ConfigurationError, match="fraction from 0 to 1"):
        job.move(fraction, "b")
    assert job.progress == Progress(0.25, "a")


@pytest.mark.parametrize("fraction", [0, 1, 0.5, 0.0, 1.0])
def test_progress_within_its_bounds(fraction: Any) -> None:
    assert check_fraction(fraction) == fraction


def test_progress_keeps_what_is_not_said() -> None:
    progress = Progress().moved(0.1, "a", {"x": 1}).moved(None, "b" * 2000, None).moved(0.2, None, 5)
    assert progress == (0.2, "b" * 1000, 5)
    with pytest.raises(ConfigurationError, match="is text"):
        progress.moved(None, 5, None)


def test_progress_for_people() -> None:
    assert str(Progress(0.256, "point 3")) == "26 % point 3"
    assert str(Progress(None, "warming up")) == "warming up"
    assert str(Progress()) == ""


def test_lines_are_bounded_and_counted() -> None:
    job = record()
    for number in range(MAX_LINES + 10):
        job.log(str(number))
    assert (len(job.lines), job.lines[0], job.info().lines) == (MAX_LINES, "10", MAX_LINES + 10)


@pytest.mark.parametrize("state", list(JobState))
def test_what_is_known_survives_the_wire(state: JobState) -> None:
    info = to(state).info()
    codec = Codec()
    read = JobInfo.from_dict({**codec.decode(*codec.encode(info.as_dict())), "later": 1}, "north/")
    assert read == JobInfo.from_dict(info.as_dict(), "north/")
    assert read.id == "north/1-1"
    assert JobInfo.from_dict(info.as_dict()) == info
    assert "stage.scan" in str(info)


@pytest.mark.parametrize(
    "damage",
    [{"state": "dreaming"}, {"progress": None}, {"progress": {}}, {"id": 5}, {"revision": None}, {"lines": "3"}],
)
def test_what_is_no_description_of_a_job(damage: dict[str, Any]) -> None:
    with pytest.raises(MalformedError):
        JobInfo.from_dict({**record().info().as_dict(), **damage})
    with pytest.raises(MalformedError):
        JobInfo.from_dict(None)


def test_why_there_is_no_result() -> None:
    failed = error_of_job(to(JobState.FAILED).info())
    assert isinstance(failed, RemoteError)
    assert isinstance(failed, ValueError)
    cancelled = error_of_job(to(JobState.CANCELLED).info())
    assert isinstance(cancelled, JobCancelledError)
    assert str(cancelled) == "job 1-1 (stage.scan) was cancelled: why not"


# --- steering --------------------------------------------------------------------------------------------------------


class Watched:
    """A job with a clock by hand, and all that was told of it."""

    def __init__(self, **arguments: Any) -> None:
        self.clock = FakeClock()
        self.told: list[JobInfo] = []
        self.record = record(**arguments)
        self.steering = Steering(self.record, self.clock, lambda one: self.told.append(one.info()))
        self.job = Job(self.steering, Codec())

    def states(self) -> list[str]:
        return [info.state.value for info in self.told]


@pytest.fixture
def watched() -> Watched:
    watched = Watched()
    watched.steering.announce()
    assert watched.steering.begin()
    return watched


def test_every_change_of_state_is_told_with_a_growing_revision(watched: Watched) -> None:
    watched.steering.succeed(Result(b"\xc0"))
    assert watched.states() == ["pending", "running", "succeeded"]
    assert [info.revision for info in watched.told] == [1, 2, 3]


def test_progress_is_told_now_and_then_and_the_last_always(watched: Watched) -> None:
    for index in range(10):
        watched.job.progress(index / 10)
    assert [info.progress.fraction for info in watched.told] == [None, None]
    watched.clock.advance(2 * TELLING_PERIOD_S)
    watched.steering.tell_rest()
    watched.steering.tell_rest()
    assert [info.progress.fraction for info in watched.told] == [None, None, 0.9]
    watched.clock.advance(2 * TELLING_PERIOD_S)
    watched.job.progress(0.95)
    watched.job.progress(0.96)
    assert [info.progress.fraction for info in watched.told[3:]] == [0.95]
    watched.steering.fail(FAULT)
    assert watched.told[-1].progress.fraction == 0.96


def test_check_points_end_a_cancelled_job(watched: Watched) -> None:
    assert not watched.job.cancelled
    watched.job.check()
    assert watched.steering.cancel("cancelled by bob")
    assert watched.job.cancelled
    for point in (watched.job.check, watched.job.progress, lambda: watched.job.sleep(0)):
        with pytest.raises(JobCancelled, match="cancelled by bob"):
            point()
    watched.steering.cancelled("")
    assert not watched.steering.cancel("too late")
    assert watched.states() == ["pending", "running", "running", "cancelled"]


def test_cancelled_before_its_turn_it_does_not_begin() -> None:
    watched = Watched()
    watched.steering.cancel("cancelled by bob")
    assert not watched.steering.begin()
    watched.steering.cancelled("")
    assert not watched.steering.begin()
    assert watched.steering.info().started is None


def test_a_thread_that_goes_on_after_the_end_is_ended(watched: Watched) -> None:
    watched.steering.succeed(Result(b""))
    with pytest.raises(JobCancelled):
        watched.job.check()
    with pytest.raises(JobStateError):
        watched.job.progress(0.5)


def test_a_pause_holds_it_at_its_check_point(watched: Watched) -> None:
    passed = threading.Event()

    def function() -> None:
        watched.job.check()
        passed.set()

    watched.steering.pause()
    thread = threading.Thread(target=function)
    thread.start()
    poll_until(lambda: watched.steering.info().state is JobState.PAUSED)
    assert not passed.is_set()
    watched.steering.resume()
    assert passed.wait(10)
    thread.join()
    assert watched.states() == ["pending", "running", "running", "paused", "paused", "running"]


def test_paused_again_before_it_could_go_on_it_stays_paused(watched: Watched) -> None:
    ended = threading.Event()

    def function() -> None:
        with pytest.raises(JobCancelled):
            watched.job.check()
        ended.set()

    watched.steering.pause()
    thread = threading.Thread(target=function)
    thread.start()
    poll_until(lambda: watched.steering.info().state is JobState.PAUSED)
    with watched.steering._changed:  # so that it cannot look in between
        watched.steering.resume()
        watched.steering.pause()
    assert not ended.wait(0.05)
    assert watched.steering.record.state is JobState.PAUSED
    watched.steering.cancel("enough")
    assert ended.wait(10)
    thread.join()


def test_cancel_wakes_who_is_paused_or_asleep(watched: Watched) -> None:
    ended: list[str] = []

    def function() -> None:
        try:
            watched.job.sleep(3600)
        except JobCancelled:
            ended.append(watched.record.state.value)

    thread = threading.Thread(target=function)
    thread.start()
    watched.steering.pause()
    watched.steering.resume()
    watched.steering.pause()
    watched.steering.cancel("cancelled by bob")
    thread.join(10)
    assert ended == ["running"]


def test_sleep_takes_its_time(watched: Watched) -> None:
    slept = threading.Event()

    def function() -> None:
        watched.job.sleep(5.0)
        slept.set()

    thread = threading.Thread(target=function)
    thread.start()
    watched.clock.advance(4.9)
    watched.steering.log("wakes nobody")
    assert not slept.wait(0.05)
    watched.clock.advance(0.2)
    watched.steering.pause()
    watched.steering.resume()
    assert slept.wait(10)
    thread.join()
    for nonsense in (-1, "1", True, math.nan):
        with pytest.raises(ConfigurationError, match="number of seconds"):
            watched.job.sleep(nonsense)  # type: ignore[arg-type]


def test_data_is_taken_as_it_is_now(watched: Watched) -> None:
    points = [1]
    watched.clock.advance(1)
    watched.job.progress(data=points)
    points.append(2)
    assert watched.record.progress.data == [1]
    watched.job.progress(data="plain")
    assert watched.record.progress.data == "plain"
    with pytest.raises(NotCarriableError, match="data"):
        watched.job.progress(0.7, data=object())
    with pytest.raises(ConfigurationError, match="send large things as a stream"):
        watched.job.progress(0.7, data=bytes(MAX_DATA_BYTES + 1))
    assert watched.record.progress == (None, "", "plain")


def test_lines_of_a_job(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "one_liner.commands.job")
    watched.job.log("%d points", 5)
    watched.job.log("100 %")
    assert watched.steering.lines() == ["5 points", "100 %"]
    assert "stage.scan 1-1: 5 points" in caplog.text


def test_a_job_that_nobody_watches() -> None:
    job = unwatched_job("stage.scan")
    job.progress(0.5, "half")
    job.sleep(0)
    job.check()
    assert (job.cancelled, job.id, job.who) == (False, "", "")
    assert "stage.scan" in repr(job)
