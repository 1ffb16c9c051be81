"""Jobs from end to end: accepted or refused, watched, paused, cancelled, found again, and who may do that."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import zmq

from one_liner.client import RouterClient
from one_liner.commands.handle import JobHandle
from one_liner.commands.info import JobInfo, Progress
from one_liner.commands.job import Job
from one_liner.commands.state import JobState
from one_liner.errors import (
    BadArgumentsError,
    BusyTimeoutError,
    CallTimeoutError,
    ConfigurationError,
    JobCancelledError,
    JobStateError,
    JobTimeoutError,
    LeasedError,
    LimitError,
    NotCarriableError,
    NotExposedError,
    OneLinerError,
    RefusedError,
    RemoteError,
    UnknownAttributeError,
    UnknownJobError,
    UnknownObjectError,
)
from one_liner.events.event import Event, Topic
from one_liner.keys import KeyPair
from one_liner.limits import Limits
from one_liner.server import RouterServer
from tests.conftest import busy_for, poll_until

PATIENCE_S = 20.0


class Stage:
    """Its scans go on until they are let go."""

    speed = 1.0

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go = threading.Event()
        self.tidied = threading.Event()
        self.scans = 0
        self.threads: list[str] = []

    def scan(self, job: Job, points: int = 3) -> list[int]:
        """Scan so many points."""
        self.scans += 1
        self.threads.append(threading.current_thread().name)
        self.begun.set()
        try:
            while not self.go.is_set():
                job.sleep(0.01)
            for index in range(points):
                job.progress((index + 1) / points, f"point {index}", {"index": index})
        finally:
            self.tidied.set()
        return list(range(points))

    def stubborn(self) -> str:
        """Has no check points."""
        self.begun.set()
        self.go.wait(PATIENCE_S)
        return "done all the same"

    def sweep(self, points: int) -> Any:
        self.begun.set()
        for index in range(points):
            yield (index + 1) / points, f"point {index}"
            busy_for(0.01)
        return {"points": points}

    async def wander(self, job: Job) -> str:
        job.progress(0.5)
        await asyncio.sleep(0)
        return "arrived"

    def too_far(self, job: Job) -> None:
        job.progress(1.5)

    def fails(self) -> None:
        raise KeyError("axis 3")

    def gives(self, kind: str) -> Any:
        return {"object": object(), "large": bytes(200_000), "plain": 5}[kind]

    def leaves(self) -> None:
        raise SystemExit(3)

    def position(self) -> float:
        return 1.5

    def stop(self) -> str:
        return "stopped"


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.go.set()


@pytest.fixture
def server(stage: Stage) -> Iterator[RouterServer]:
    with RouterServer(rpc_port=0, broadcast_port=0, heartbeat_s=0.5) as server:
        server.add_instance("stage", stage, urgent=["stop"], read_only=["position"])
        server.run()
        yield server


def client_of(server: RouterServer, name: str, **arguments: Any) -> RouterClient:
    return RouterClient(rpc_port=server.rpc_port, broadcast_port=None, interface="127.0.0.1", name=name, **arguments)


@pytest.fixture
def ann(server: RouterServer) -> Iterator[RouterClient]:
    with client_of(server, "ann", heartbeat_s=0.5) as client:
        yield client


@pytest.fixture
def bob(server: RouterServer) -> Iterator[RouterClient]:
    with client_of(server, "bob", heartbeat_s=0.5) as client:
        yield client


# --- the good case ---------------------------------------------------------------------------------------------------


def test_a_job_from_its_acceptance_to_its_result(ann: RouterClient, stage: Stage) -> None:
    job = ann.submit("stage", "scan", [4])
    assert stage.begun.wait(PATIENCE_S)
    poll_until(lambda: job.state is JobState.RUNNING)
    assert (job.command, job.info.who, job.done) == ("stage.scan", "ann", False)
    stage.go.set()
    assert job.result(PATIENCE_S) == [0, 1, 2, 3]
    assert job.wait() is JobState.SUCCEEDED
    assert job.progress == Progress(1.0, "point 3", {"index": 3})
    assert job.exception() is None
    info = job.info
    assert info.started is not None
    assert info.ended is not None
    assert info.submitted <= info.started <= info.ended


def test_a_generators_yields_are_progress(ann: RouterClient) -> None:
    job = ann.submit("stage", "sweep", kwargs={"points": 3})
    assert job.result(PATIENCE_S) == {"points": 3}
    assert job.progress == Progress(1.0, "point 2")


def test_a_coroutine_and_a_function_without_a_job(ann: RouterClient) -> None:
    assert ann.submit("stage", "wander").result(PATIENCE_S) == "arrived"
    assert ann.submit("stage", "position").result(PATIENCE_S) == 1.5


def test_updates_come_in_order_and_end_with_the_job(ann: RouterClient, stage: Stage) -> None:
    job = ann.submit("stage", "scan", [3])
    stage.go.set()
    seen = list(job.updates(PATIENCE_S))
    revisions = [info.revision for info in seen]
    assert revisions == sorted(set(revisions))
    assert seen[-1].state is JobState.SUCCEEDED
    assert [info.state for info in ann.job(job.id).updates()] == [JobState.SUCCEEDED]


def test_news_that_was_overtaken_on_the_way_is_no_news(ann: RouterClient, stage: Stage) -> None:
    stage.go.set()
    job = ann.submit("stage", "scan")
    job.result(PATIENCE_S)
    job.heard(job.info.__replace__(state=JobState.RUNNING, revision=1))
    assert job.done


def test_callbacks(ann: RouterClient, stage: Stage) -> None:
    job = ann.submit("stage", "scan", [3])
    moved: list[Progress] = []
    states: list[JobState] = []
    ended: list[JobHandle] = []
    for callback in (job.on_progress(moved.append), job.on_update(lambda info: states.append(info.state))):
        assert not callback.closed
    job.on_done(ended.append)
    stage.go.set()
    poll_until(lambda: ended and moved and moved[-1].fraction == 1.0 and states[-1].ended)
    assert ended == [job]
    assert ended[0].result() == [0, 1, 2]


def test_a_closed_callback_is_called_no_more(ann: RouterClient, stage: Stage) -> None:
    job = ann.submit("stage", "scan")
    called: list[Any] = []
    for callback in (job.on_done(called.append), job.on_progress(called.append)):
        callback.close()
        assert callback.closed
    stage.go.set()
    job.wait(PATIENCE_S)
    assert all(not isinstance(one, JobHandle) for one in called)


def test_awaiting_a_job(ann: RouterClient, stage: Stage) -> None:
    async def both() -> list[Any]:
        jobs = [ann.submit("stage", "scan", [2]), ann.submit("stage", "sweep", [2]), ann.submit("stage", "fails")]
        asyncio.get_running_loop().call_later(0.05, stage.go.set)
        return list(await asyncio.gather(*jobs, return_exceptions=True))

    scan, sweep, error = asyncio.run(both())
    assert (scan, sweep) == ([0, 1], {"points": 2})
    assert isinstance(error, KeyError)


def test_to_stop_awaiting_does_not_stop_the_job(ann: RouterClient, stage: Stage) -> None:
    job = ann.submit("stage", "scan")

    async def wait_a_little() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(job, 0.05)

    asyncio.run(wait_a_little())
    assert not job.refresh().state.ended
    stage.go.set()
    assert job.result(PATIENCE_S) == [0, 1, 2]


# --- not the good case -----------------------------------------------------------------------------------------------


def test_what_the_function_raises_is_raised_by_result(ann: RouterClient) -> None:
    job = ann.submit("stage", "fails")
    for _ in range(2):
        with pytest.raises(KeyError, match="axis 3") as raised:
            job.result(PATIENCE_S)
        assert isinstance(raised.value, RemoteError)
        assert "in fails" in raised.value.remote_traceback
    assert job.state is JobState.FAILED
    assert job.info.reason == "KeyError: axis 3"


def test_progress_beyond_1_fails_the_job_with_a_clear_error(ann: RouterClient) -> None:
    job = ann.submit("stage", "too_far")
    with pytest.raises(Exception, match=r"progress is a fraction from 0 to 1, not 1\.5; divide by what is all"):
        job.result(PATIENCE_S)


def test_a_result_that_cannot_travel_and_a_driver_that_leaves(ann: RouterClient) -> None:
    with pytest.raises(NotCarriableError, match="result"):
        ann.submit("stage", "gives", ["object"]).result(PATIENCE_S)
    with pytest.raises(RemoteError, match="SystemExit"):
        ann.submit("stage", "leaves").result(PATIENCE_S)
    assert ann.call("stage", "position") == 1.5


@pytest.mark.parametrize(
    ("path", "attr_name", "args", "error", "says"),
    [
        ("nothing", "scan", [], UnknownObjectError, "no object 'nothing'"),
        ("stage", "scam", [], UnknownAttributeError, "did you mean 'scan'"),
        ("stage", "_scan", [], NotExposedError, "private"),
        ("stage", "sweep", [], BadArgumentsError, r"stage\.sweep\(points: int\).*: missing a required argument"),
        ("stage", "scan", [1, 2], BadArgumentsError, r"stage\.scan\(points: int = 3\).*: too many"),
        ("stage", "speed", [], BadArgumentsError, "is a property"),
    ],
)
def test_what_cannot_be_is_refused_at_once(
    ann: RouterClient, path: str, attr_name: str, args: list[Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        ann.submit(path, attr_name, args)
    assert ann.jobs() == []


def test_a_wrong_word_is_refused(ann: RouterClient) -> None:
    with pytest.raises(ConfigurationError, match="on_death is"):
        ann.submit("stage", "scan", on_death="weep")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="timeout"):
        ann.submit("stage", "scan", timeout_s=-1)
    with pytest.raises(NotCarriableError, match="args"):
        ann.submit("stage", "scan", [object()])


@pytest.mark.parametrize(
    ("path", "word", "arguments"),
    [
        ("stage", "submit", {"attr_name": 5}),
        ("stage", "submit", {"attr_name": "scan", "args": 5}),
        ("stage", "submit", {"attr_name": "scan", "args": "text"}),
        ("stage", "submit", {"attr_name": "scan", "kwargs": {5: 6}}),
        ("stage", "submit", {"attr_name": "scan", "kwargs": [1]}),
        ("stage", "submit", {"attr_name": "scan", "timeout_s": "soon"}),
        ("stage", "submit", {"attr_name": "scan", "timeout_s": float("nan")}),
        ("stage", "submit", {"attr_name": "scan", "on_death": ["keep"]}),
        ("stage", "submit", {"attr_name": "scan", "client": 5}),
        ("stage", "submit", {"attr_name": "scan", "nonsense": 5}),
        ("", "submit", {"attr_name": "scan"}),
        ("../stage", "job", {}),
        ("-", "job_result", {}),
        ("00000000-00000000000000000000000000000", "cancel_job", {}),
        ("\x00", "pause_job", {}),
        ("", "resume_job", {}),
        ("", "job_log", {}),
        ("", "events", {"topics": 5}),
        ("", "events", {"topics": [[1]]}),
        ("", "events", {"kinds": {"a": None, None: 1}}),
        ("", "events", {"last": -1}),
        ("", "events", {"last": "all"}),
        ("", "missed_emergencies", {"since": "1"}),
        ("", "missed_emergencies", {"origin": 1, "since": 1.5}),
        ("stage", "observe", {}),
        ("stage", "observe", {"attr_name": "speed", "frequency_hz": "fast"}),
        ("stage", "unobserve", {"attr_name": [1]}),
    ],
)
def test_nonsense_is_an_error_and_nothing_else(
    server: RouterServer, ann: RouterClient, stage: Stage, path: str, word: str, arguments: dict[str, Any]
) -> None:
    with pytest.raises(OneLinerError) as refusal:
        ann._control(path, word, **arguments)
    assert not isinstance(refusal.value, RemoteError), "a clear answer, and no bug of ours"
    assert server.jobs() == []
    stage.go.set()
    assert ann.submit("stage", "scan").result(PATIENCE_S) == [0, 1, 2]


def test_limits_of_pending_jobs(stage: Stage) -> None:
    limits = Limits(jobs_per_client=2, jobs=3)
    with RouterServer(rpc_port=0, broadcast_port=0, limits=limits, instances={"stage": stage}) as server:
        server.run()
        with client_of(server, "ann") as ann, client_of(server, "bob") as bob:
            jobs = [ann.submit("stage", "scan"), ann.submit("stage", "scan"), bob.submit("stage", "scan")]
            for client in (ann, bob):
                with pytest.raises(LimitError, match="is not accepted: 3 jobs run or wait"):
                    client.submit("stage", "scan")
            stage.go.set()
            jobs[0].result(PATIENCE_S)
            assert [job.result(PATIENCE_S) for job in jobs] == [[0, 1, 2]] * 3
            assert ann.submit("stage", "scan").result(PATIENCE_S) == [0, 1, 2]


# --- lanes -----------------------------------------------------------------------------------------------------------


def test_calls_wait_behind_a_job_and_urgent_ones_do_not(ann: RouterClient, bob: RouterClient, stage: Stage) -> None:
    job = ann.submit("stage", "scan")
    assert stage.begun.wait(PATIENCE_S)
    assert bob.call("stage", "stop", timeout_s=PATIENCE_S) == "stopped"
    with pytest.raises(BusyTimeoutError, match=r"stage\.scan for ann"):
        bob.call("stage", "position", timeout_s=0.1)
    assert [(call["where"], call["who"]) for call in bob.running_calls()] == [("stage.scan", "ann")]
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(bob.call, "stage", "position")
        poll_until(lambda: len(bob.running_calls()) == 2)
        stage.go.set()
        assert waiting.result(PATIENCE_S) == 1.5
    assert job.done or job.wait(PATIENCE_S)


def test_jobs_of_one_object_run_one_after_the_other(ann: RouterClient, stage: Stage) -> None:
    jobs = [ann.submit("stage", "scan", [index]) for index in range(1, 5)]
    assert stage.begun.wait(PATIENCE_S)
    assert [job.refresh().state for job in jobs[1:]] == [JobState.PENDING] * 3
    stage.go.set()
    assert [job.result(PATIENCE_S) for job in jobs] == [list(range(index)) for index in range(1, 5)]


def test_whoever_has_a_result_finds_the_object_free(ann: RouterClient) -> None:
    for _ in range(50):
        ann.submit("stage", "position").result(PATIENCE_S)
        assert ann.call("stage", "position", if_busy="refuse") == 1.5


def test_an_object_with_its_own_thread_runs_jobs_there(stage: Stage) -> None:
    with RouterServer(rpc_port=0, broadcast_port=0) as server:
        server.add_instance("stage", stage, own_thread=True)
        server.run()
        stage.go.set()
        with client_of(server, "ann") as ann:
            for _ in range(3):
                ann.submit("stage", "scan").result(PATIENCE_S)
            ann.call("stage", "scan")
    assert len(set(stage.threads)) == 1


def test_a_command_that_is_simply_called(ann: RouterClient, stage: Stage) -> None:
    stage.go.set()
    assert ann.call("stage", "scan", [2]) == [0, 1]
    assert ann.proxy("stage").scan(points=1) == [0]
    with pytest.raises(BadArgumentsError, match=r"stage\.scan\(points: int = 3\).*: too many"):
        ann.call("stage", "scan", [1, 2])
    described = {one.name: one for one in ann.describe_object("stage").methods}
    assert str(described["scan"]) == "scan(points: int = 3) -> list[int]"
    assert {name for name, one in described.items() if one.is_command} == {"scan", "sweep", "wander", "too_far"}


# --- cancelling ------------------------------------------------------------------------------------------------------


def test_cancelling_what_runs(ann: RouterClient, bob: RouterClient, stage: Stage) -> None:
    job = ann.submit("stage", "scan")
    assert stage.begun.wait(PATIENCE_S)
    assert bob.job(job.id).cancel()
    with pytest.raises(JobCancelledError, match=r"stage\.scan\) was cancelled: cancelled by bob"):
        job.result(PATIENCE_S)
    assert stage.tidied.is_set()
    assert job.state is JobState.CANCELLED
    assert ann.call("stage", "position", timeout_s=PATIENCE_S) == 1.5


def test_cancelling_what_waits(ann: RouterClient, stage: Stage) -> None:
    first, second = ann.submit("stage", "scan"), ann.submit("stage", "scan")
    assert second.cancel()
    assert second.wait(PATIENCE_S) is JobState.CANCELLED
    assert second.info.started is None
    stage.go.set()
    first.result(PATIENCE_S)
    assert stage.scans == 1


def test_a_function_without_check_points_runs_to_its_end(ann: RouterClient, stage: Stage) -> None:
    job = ann.submit("stage", "stubborn")
    assert stage.begun.wait(PATIENCE_S)
    assert job.cancel()
    assert job.refresh().cancelling
    stage.go.set()
    assert job.result(PATIENCE_S) == "done all the same"
    assert job.state is JobState.SUCCEEDED


def test_cancelling_what_has_ended_says_so_and_changes_nothing(ann: RouterClient) -> None:
    job = ann.submit("stage", "sweep", [1])
    job.result(PATIENCE_S)
    assert job.cancel() is False
    assert ann.job(job.id).state is JobState.SUCCEEDED
    with pytest.raises(JobStateError, match="cannot be paused: it is succeeded"):
        job.pause()
    with pytest.raises(JobStateError, match="cannot be resumed"):
        job.resume()


def test_pausing(ann: RouterClient, stage: Stage) -> None:
    job = ann.submit("stage", "scan")
    assert stage.begun.wait(PATIENCE_S)
    job.pause()
    poll_until(lambda: job.state is JobState.PAUSED)
    stage.go.set()
    with pytest.raises(CallTimeoutError, match=r"is paused after 0\.1 s, and goes on"):
        job.result(0.1)
    job.resume()
    assert job.result(PATIENCE_S) == [0, 1, 2]


def test_what_is_paused_while_it_waits_does_not_begin(ann: RouterClient, stage: Stage) -> None:
    first, second = ann.submit("stage", "scan"), ann.submit("stage", "scan")
    second.pause()
    assert second.refresh().pausing
    stage.go.set()
    first.result(PATIENCE_S)
    poll_until(lambda: second.state is JobState.PAUSED)
    assert stage.scans == 1
    second.resume()
    assert second.result(PATIENCE_S) == [0, 1, 2]


# --- deadlines, death, leases ----------------------------------------------------------------------------------------


def test_the_time_of_a_job_is_up(ann: RouterClient, stage: Stage) -> None:
    running, waiting = ann.submit("stage", "scan", timeout_s=0.3), ann.submit("stage", "scan", timeout_s=0.1)
    with pytest.raises(JobTimeoutError, match="did not run: its time was up"):
        waiting.result(PATIENCE_S)
    with pytest.raises(TimeoutError, match="was ended: its time was up"):
        running.result(PATIENCE_S)
    assert running.state is JobState.FAILED
    assert stage.tidied.is_set()
    assert stage.scans == 1


def test_the_job_of_a_client_that_died(server: RouterServer, ann: RouterClient, stage: Stage) -> None:
    with client_of(server, "eve", heartbeat_s=0.1) as eve:
        eve.wait_until_connected(PATIENCE_S)
        kept = eve.submit("stage", "scan").id
        assert stage.begun.wait(PATIENCE_S)
        waits, also_kept = eve.submit("stage", "scan", on_death="cancel").id, eve.submit("stage", "scan").id
    poll_until(lambda: server.job(waits).state is JobState.CANCELLED)
    assert server.job(waits).reason == "cancelled because eve is gone"
    assert server.job(kept).state is JobState.RUNNING
    stage.go.set()
    assert ann.job(kept).result(PATIENCE_S) == [0, 1, 2]
    assert ann.job(also_kept).result(PATIENCE_S) == [0, 1, 2]


def test_a_running_job_dies_with_its_client(server: RouterServer, stage: Stage) -> None:
    with client_of(server, "eve", heartbeat_s=0.1) as eve:
        job_id = eve.submit("stage", "scan", on_death="cancel").id
        assert stage.begun.wait(PATIENCE_S)
        busy_for(0.5)
        assert server.job(job_id).state is JobState.RUNNING
    poll_until(lambda: server.job(job_id).state is JobState.CANCELLED)
    assert stage.tidied.is_set()


def test_leases_hold_for_jobs(ann: RouterClient, bob: RouterClient, stage: Stage) -> None:
    job = bob.submit("stage", "scan")
    assert stage.begun.wait(PATIENCE_S)
    with ann.lease("stage"):
        with pytest.raises(LeasedError, match="ann has had exclusive control"):
            bob.submit("stage", "scan")
        waits = ann.submit("stage", "scan")
        for act in (ann.job(job.id).pause, bob.job(job.id).pause):
            act()
        with pytest.raises(LeasedError):
            bob.job(waits.id).cancel()
        ann.job(job.id).cancel()
        assert bob.submit("stage", "position").cancel()
    stage.go.set()
    assert waits.result(PATIENCE_S) == [0, 1, 2]


def test_what_a_dead_holder_of_a_lease_has_in_line_does_not_run(server: RouterServer, stage: Stage) -> None:
    with client_of(server, "eve", heartbeat_s=0.1) as eve:
        eve.wait_until_connected(PATIENCE_S)
        eve.lease("stage")
        runs = eve.submit("stage", "scan").id
        assert stage.begun.wait(PATIENCE_S)
        waits = eve.submit("stage", "scan").id
    poll_until(lambda: server.job(waits).state is JobState.CANCELLED)
    assert server.job(waits).reason == "cancelled because eve, who had control, was taken for dead"
    assert server.job(runs).state is JobState.RUNNING, "this was chosen"
    stage.go.set()
    poll_until(lambda: server.job(runs).state is JobState.SUCCEEDED)
    assert stage.scans == 1


def test_a_lease_taken_while_a_job_waits_refuses_it(ann: RouterClient, bob: RouterClient, stage: Stage) -> None:
    first = ann.submit("stage", "scan")
    assert stage.begun.wait(PATIENCE_S)
    second = bob.submit("stage", "scan")
    with ann.lease("stage"):
        stage.go.set()
        first.result(PATIENCE_S)
        with pytest.raises(LeasedError, match="ann has had exclusive control"):
            second.result(PATIENCE_S)
    assert second.state is JobState.FAILED
    assert stage.scans == 1


@pytest.mark.skipif(not zmq.has("curve"), reason="this libzmq was built without CURVE")
def test_roles_hold_for_jobs(stage: Stage) -> None:
    home, reader, mover, other = (KeyPair.new() for _ in range(4))
    clients = {
        reader.public: "read",
        mover.public: {"role": "control", "objects": ["stage"]},
        other.public: {"role": "control", "objects": ["lamp"]},
    }
    stage.go.set()
    with RouterServer(rpc_port=0, broadcast_port=0, keys=home, clients=clients) as server:
        server.add_instance("stage", stage, read_only=["position"])
        server.add_instance("lamp", Stage())
        server.run()
        with (
            client_of(server, "reader", keys=reader, server_key=home.public) as reads,
            client_of(server, "mover", keys=mover, server_key=home.public) as moves,
            client_of(server, "other", keys=other, server_key=home.public) as switches,
        ):
            assert moves.submit("stage", "scan").result(PATIENCE_S) == [0, 1, 2]
            with pytest.raises(RefusedError, match="needs the role control"):
                reads.submit("stage", "scan")
            assert reads.submit("stage", "position").result(PATIENCE_S) == 1.5
            with pytest.raises(RefusedError, match="may not reach 'stage'"):
                switches.submit("stage", "scan")
            stage.go.clear()
            job = moves.submit("stage", "scan")
            for client in (reads, switches):
                watched = client.job(job.id)
                with pytest.raises(RefusedError):
                    watched.cancel()
            assert job.cancel()
            assert watched.wait(PATIENCE_S) is JobState.CANCELLED


# --- finding again ---------------------------------------------------------------------------------------------------


def test_any_client_sees_what_runs_and_what_ran(ann: RouterClient, bob: RouterClient, stage: Stage) -> None:
    ran = ann.submit("stage", "sweep", [1])
    ran.result(PATIENCE_S)
    stage.begun.clear()
    runs = ann.submit("stage", "scan")
    assert stage.begun.wait(PATIENCE_S)
    listed = bob.jobs()
    assert [(info.id, info.state, info.who) for info in listed] == [
        (ran.id, JobState.SUCCEEDED, "ann"),
        (runs.id, JobState.RUNNING, "ann"),
    ]
    watched = bob.job(runs.id)
    stage.go.set()
    assert watched.result(PATIENCE_S) == [0, 1, 2]
    assert bob.job(ran.id).result() == {"points": 1}


def test_ids_that_are_none(server: RouterServer, ann: RouterClient) -> None:
    life = ann.submit("stage", "position").id.partition("-")[0]
    for unknown in ("", "nonsense", f"{life}-99", f"{life}-0"):
        with pytest.raises(UnknownJobError, match="there is no job"):
            ann.job(unknown)
    with pytest.raises(KeyError):
        server.cancel_job("nonsense")


def test_what_has_fallen_out_is_said_to_have(server: RouterServer, ann: RouterClient) -> None:
    server._desk._ended._max_entries = 2
    job_ids = []
    for _ in range(4):
        job_ids.append(server.submit("stage", "position").id)
        poll_until(lambda: all(info.state is JobState.SUCCEEDED for info in ann.jobs()))
    assert len(ann.jobs()) == 2
    with pytest.raises(UnknownJobError, match=f"job {job_ids[0]} has ended, and what became of it is not kept"):
        ann.job(job_ids[0])
    assert ann.job(job_ids[3]).result() == 1.5


def test_what_a_job_has_logged(server: RouterServer, ann: RouterClient) -> None:
    def talk(job: Job) -> None:
        job.log("one")
        job.log("%d", 2)

    server.add_instance("talk", talk)
    job = ann.submit("talk")
    job.result(PATIENCE_S)
    assert job.log() == ["one", "2"]
    assert job.info.lines == 2


def test_a_thread_of_a_job_that_has_ended_may_still_log(server: RouterServer, ann: RouterClient) -> None:
    go, errors = threading.Event(), []

    def late(job: Job) -> None:
        def talk() -> None:
            go.wait(PATIENCE_S)
            try:
                busy_for(0.1)  # longer than progress is held back
                job.log("after the end")
            except Exception as error:
                errors.append(error)

        threading.Thread(target=talk, name="late").start()

    server.add_instance("late", late)
    with ann.iter_events("command_result") as results:
        poll_until(lambda: ann._reception.feeds[":command_result"].synchronised.is_set())
        job = ann.submit("late")
        job.result(PATIENCE_S)
        go.set()
        poll_until(lambda: job.log() == ["after the end"])
        assert next(results).context["id"] == job.id
        ann.submit("stage", "position").result(PATIENCE_S)
        assert next(results).kind == "stage.position", "the end is told once"
    assert errors == []
    assert len(ann.jobs()) == 2


def test_large_results_and_those_told_with_the_event(ann: RouterClient) -> None:
    with ann.iter_events("command_result", timeout_s=PATIENCE_S) as results:
        poll_until(lambda: ann._reception.feeds[":command_result"].synchronised.is_set())
        assert ann.submit("stage", "gives", ["large"]).result(PATIENCE_S) == bytes(200_000)
        assert ann.submit("stage", "gives", ["plain"]).result(PATIENCE_S) == 5
        large, plain = next(results), next(results)
    assert (large.kind, large.context["state"], large.context["has_result"]) == ("stage.gives", "succeeded", False)
    assert (plain.context["result"], plain.context["has_result"], plain.context["who"]) == (5, True, "ann")


# --- in the server's own process -------------------------------------------------------------------------------------


def test_jobs_of_the_application(server: RouterServer, ann: RouterClient, stage: Stage) -> None:
    ended: list[JobInfo] = []
    stage.go.set()
    info = server.submit("stage", "scan", [2], on_done=ended.append)
    assert (info.state, info.who) == (JobState.PENDING, "the application")
    poll_until(lambda: ended)
    assert server.job_result(info.id) == [0, 1]
    assert ann.job(info.id).result() == [0, 1]

    def compute(job: Job, n: int) -> int:
        job.sleep(0)
        return n * n

    squared = server.submit_function("square", compute, [5], who="the lab", on_done=ended.append)
    poll_until(lambda: len(ended) == 2)
    assert (ended[1].command, ended[1].who, server.job_result(squared.id)) == ("square", "the lab", 25)
    with pytest.raises(BadArgumentsError, match=r"square\(n: 'int'\)|square\(n: int\)"):
        server.submit_function("square", compute)
    with pytest.raises(ConfigurationError, match="needs a function"):
        server.submit_function("square", 5)  # type: ignore[arg-type]


def test_the_application_steers(server: RouterServer, stage: Stage) -> None:
    info = server.submit("stage", "scan")
    assert stage.begun.wait(PATIENCE_S)
    with pytest.raises(JobStateError, match="has no result yet: it is running"):
        server.job_result(info.id)
    server.pause_job(info.id)
    poll_until(lambda: server.job(info.id).state is JobState.PAUSED)
    server.resume_job(info.id)
    assert server.cancel_job(info.id)
    poll_until(lambda: server.job(info.id).state.ended)
    with pytest.raises(JobCancelledError, match="cancelled by the application"):
        server.job_result(info.id)


def test_an_on_done_that_raises_is_logged(server: RouterServer, caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: JobInfo) -> None:
        raise RuntimeError("in on_done")

    server.submit_function("nothing", lambda: None, on_done=fail)
    poll_until(lambda: "in on_done" in caplog.text)


def test_closing_the_server_ends_its_jobs(stage: Stage) -> None:
    with RouterServer(rpc_port=0, broadcast_port=0, instances={"stage": stage}) as server:
        server.run()
        with client_of(server, "ann") as ann:
            job = ann.submit("stage", "scan")
            poll_until(lambda: ann._reception.feeds[":job_update"].synchronised.is_set())
            assert stage.begun.wait(PATIENCE_S)
            server.close()
            assert stage.tidied.wait(PATIENCE_S)
            with pytest.raises(JobCancelledError, match="the server was closed"):
                job.result(PATIENCE_S)
            with pytest.raises(JobStateError, match="the server is being closed"):
                server.submit("stage", "scan")


def test_close_waits_until_the_end_of_the_last_job_was_told(
    server: RouterServer, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, telling, let_on = server._desk, threading.Event(), threading.Event()
    emit = server._emitter.emit

    def slowly(topic: Topic, kind: Any, context: Any) -> Event:
        if topic is Topic.COMMAND_RESULT:
            telling.set()
            let_on.wait(PATIENCE_S)
        return emit(topic, kind, context)

    monkeypatch.setattr(server._emitter, "emit", slowly)
    server.submit("stage", "scan")
    assert stage.begun.wait(PATIENCE_S)
    closing = threading.Thread(target=desk.close, args=(3 * PATIENCE_S,))
    closing.start()
    try:
        assert telling.wait(PATIENCE_S)
        closing.join(0.1)
        assert closing.is_alive()
    finally:
        let_on.set()
        closing.join(PATIENCE_S)
    assert not closing.is_alive()


def test_close_does_not_wait_for_ever_for_a_job_without_check_points(server: RouterServer, stage: Stage) -> None:
    info = server.submit("stage", "stubborn")
    assert stage.begun.wait(PATIENCE_S)
    server._desk.close(0.05)
    assert server.job(info.id).state is JobState.RUNNING
    stage.go.set()
    server._desk.close(PATIENCE_S)
    assert server.job_result(info.id) == "done all the same"


# --- through three servers -------------------------------------------------------------------------------------------


@pytest.fixture
def cascade(server: RouterServer) -> Iterator[RouterClient]:
    with (
        RouterServer(rpc_port=0, broadcast_port=0, heartbeat_s=0.5, name="middle") as middle,
        RouterServer(rpc_port=0, broadcast_port=0, heartbeat_s=0.5, name="top") as top,
    ):
        middle.add_router("low", "tcp", "127.0.0.1", server.rpc_port)
        top.add_router("mid", "tcp", "127.0.0.1", middle.rpc_port)
        middle.run()
        top.run()
        with client_of(top, "far", heartbeat_s=0.5) as client:
            poll_until(lambda: _answers(lambda: client.call("mid/low/stage", "position")))
            yield client


def _answers(ask: Callable[[], Any]) -> bool:
    try:
        ask()
    except Exception:
        return False
    return True


def test_a_job_through_three_servers(cascade: RouterClient, server: RouterServer, stage: Stage) -> None:
    job = cascade.submit("mid/low/stage", "scan", [5])
    assert job.id.startswith("mid/low/")
    assert stage.begun.wait(PATIENCE_S)
    job.pause()
    poll_until(lambda: job.state is JobState.PAUSED)
    job.resume()
    stage.go.set()
    assert job.result(PATIENCE_S) == [0, 1, 2, 3, 4]
    assert job.progress.message == "point 4"
    assert [info.id for info in cascade.jobs()] == [job.id]
    assert cascade.job(job.id).result() == [0, 1, 2, 3, 4]
    assert server.job(job.id.rpartition("/")[2]).who == "far"
    with pytest.raises(BadArgumentsError):
        cascade.submit("mid/low/stage", "sweep")


def test_a_job_behind_routers_dies_with_its_client(cascade: RouterClient, server: RouterServer, stage: Stage) -> None:
    job = cascade.submit("mid/low/stage", "scan", on_death="cancel")
    assert stage.begun.wait(PATIENCE_S)
    busy_for(2.0)  # longer than a death takes to be noticed
    assert job.refresh().state is JobState.RUNNING
    cascade.close()
    poll_until(lambda: server.jobs()[-1].state is JobState.CANCELLED, timeout_s=PATIENCE_S)


def test_an_event_loop_that_closes_just_when_its_job_ends_keeps_no_events_from_others(
    server: RouterServer, ann: RouterClient, stage: Stage
) -> None:
    class Closing(asyncio.SelectorEventLoop):
        def call_soon_threadsafe(self, *args: Any, **kwargs: Any) -> asyncio.Handle:  # type: ignore[override]
            if threading.current_thread().name.startswith("one_liner events"):
                told.set()
                raise RuntimeError("Event loop is closed")
            return super().call_soon_threadsafe(*args, **kwargs)

    async def awaiting(job: JobHandle) -> Any:
        return await job

    told = threading.Event()
    with ann.iter_events(Topic.EVENT, timeout_s=10) as events:
        loop = Closing()
        job = ann.submit("stage", "scan", [1])
        waiting = threading.Thread(target=lambda: loop.run_until_complete(awaiting(job)))
        waiting.start()
        poll_until(lambda: job._wakers)
        stage.go.set()
        waiting.join()
        loop.close()
        assert told.wait(10.0), "the end was not told by an event"
        poll_until(lambda: server.emit("still here") and events._inbox._ready)
        assert next(events).kind == "still here"


def test_jobs_are_followed_also_when_that_was_interrupted_once(
    ann: RouterClient, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(ann._jobs, "_hub", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ann.submit("stage", "scan", [1])
    ann.submit("stage", "scan", [1])
    poll_until(lambda: ann._event_hub().is_synchronised(Topic.JOB_UPDATE, ""))
    stage.go.set()
