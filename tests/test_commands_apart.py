"""Jobs between real processes, some of which are killed: whoever is left is told the truth."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from one_liner.client import RouterClient
from one_liner.commands.handle import JobHandle
from one_liner.commands.job import Job
from one_liner.commands.state import JobState
from one_liner.errors import (
    JobCancelledError,
    JobLostError,
    OneLinerError,
    ServerLostError,
    TransportError,
)
from one_liner.events.event import Event
from one_liner.server import RouterServer
from one_liner.testing import SubprocessServer
from tests.conftest import busy_for, poll_until

PATIENCE_S = 30.0
HEARTBEAT_S = 0.3


class Stage:
    """Scans until a file is there; each begin is a line in another one."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)

    def scan(self, job: Job, name: str) -> str:
        with (self._folder / "begun").open("a") as file:
            file.write(f"{name}\n")
        while not (self._folder / "go").exists():
            job.progress(0.5, f"scanning {name}")
            job.sleep(0.01)
        return f"scanned {name}"

    def ready(self) -> bool:
        return True


def serve(rpc_port: int, broadcast_port: int, folder: str) -> RouterServer:
    return RouterServer(
        rpc_port=rpc_port,
        broadcast_port=broadcast_port,
        heartbeat_s=HEARTBEAT_S,
        instances={"stage": Stage(folder), "other": Stage(folder)},
    )


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SubprocessServer]:
    with SubprocessServer(serve, {"folder": str(tmp_path)}, timeout_s=PATIENCE_S) as server:
        yield server


@pytest.fixture
def client(server: SubprocessServer) -> Iterator[RouterClient]:
    with client_of(server) as client:
        client.wait_until_connected(PATIENCE_S)
        yield client


def client_of(server: SubprocessServer, name: str = "ann") -> RouterClient:
    return RouterClient(
        rpc_port=server.rpc_port, broadcast_port=None, interface="127.0.0.1", name=name, heartbeat_s=HEARTBEAT_S
    )


def begun(tmp_path: Path) -> list[str]:
    file = tmp_path / "begun"
    return file.read_text().split() if file.exists() else []


# --- the server is killed at each moment of a job --------------------------------------------------------------------


def _pending(client: RouterClient) -> JobHandle:
    running = client.submit("stage", "scan", ["before"])
    poll_until(lambda: running.state is JobState.RUNNING, PATIENCE_S)
    return client.submit("stage", "scan", ["a"])


def _running(client: RouterClient) -> JobHandle:
    job = client.submit("stage", "scan", ["a"])
    poll_until(lambda: job.progress.fraction, PATIENCE_S)
    return job


def _paused(client: RouterClient) -> JobHandle:
    job = _running(client)
    job.pause()
    poll_until(lambda: job.state is JobState.PAUSED, PATIENCE_S)
    return job


MOMENTS: dict[str, Callable[[RouterClient], JobHandle]] = {"pending": _pending, "running": _running, "paused": _paused}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_server_that_is_killed_and_stays_away(server: SubprocessServer, client: RouterClient, moment: str) -> None:
    job = MOMENTS[moment](client)
    server.kill()
    with pytest.raises(ServerLostError, match=rf"job {job.id} .* may or may not run to its end") as lost:
        job.result(PATIENCE_S)
    assert not isinstance(lost.value, JobLostError), "it may come back, as far as anybody knows"


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_server_that_is_killed_and_started_again(
    server: SubprocessServer, client: RouterClient, moment: str, tmp_path: Path
) -> None:
    job = MOMENTS[moment](client)
    lost: list[JobHandle] = []
    job.on_done(lost.append)
    before = begun(tmp_path)
    server.restart()
    poll_until(lambda: _answers(client), PATIENCE_S)
    with pytest.raises(JobLostError, match="it may or may not have run to its end"):
        job.result(PATIENCE_S)
    with pytest.raises(JobLostError):
        client.job(job.id)
    poll_until(lambda: lost == [job], PATIENCE_S)
    assert client.jobs() == []
    assert begun(tmp_path) == before, "nothing is begun again by itself"
    (tmp_path / "go").touch()
    assert client.submit("stage", "scan", ["next"]).result(PATIENCE_S) == "scanned next"


def test_killed_after_the_end_before_the_result_was_fetched(
    server: SubprocessServer, client: RouterClient, tmp_path: Path
) -> None:
    (tmp_path / "go").touch()
    job = client.submit("stage", "scan", ["a"])
    job.wait(PATIENCE_S)
    server.kill()
    assert job.state is JobState.SUCCEEDED
    with pytest.raises(TransportError):
        job.result(PATIENCE_S)
    server.restart()
    poll_until(lambda: _answers(client), PATIENCE_S)
    with pytest.raises(JobLostError):
        job.result(PATIENCE_S)


def test_killed_while_jobs_are_being_submitted(server: SubprocessServer, client: RouterClient, tmp_path: Path) -> None:
    """Whatever becomes of a submission, it was carried out at most once, and not at all when it was refused."""
    (tmp_path / "go").touch()
    accepted, unclear = [], []
    for number in range(60):
        if number == 30:
            server.kill()
        if number == 40:
            server.restart()
            poll_until(lambda: _answers(client), PATIENCE_S)
        try:
            client.submit("stage", "scan", [str(number)], timeout_s=PATIENCE_S)
            accepted.append(str(number))
        except OneLinerError:
            unclear.append(str(number))
    poll_until(lambda: all(info.state.ended for info in client.jobs()), PATIENCE_S)
    did = begun(tmp_path)
    assert len(did) == len(set(did)), "nothing is done twice"
    assert set(accepted[-20:]) <= set(did)
    assert {str(number) for number in range(31, 40)} <= set(unclear)
    assert not {str(number) for number in range(32, 40)} & set(did)


def _answers(client: RouterClient) -> bool:
    try:
        return bool(client.call("other", "ready", timeout_s=1))
    except OneLinerError:
        return False


# --- the client is killed --------------------------------------------------------------------------------------------

SUBMIT = """
    import sys, time
    from one_liner import RouterClient

    client = RouterClient(
        rpc_port=int(sys.argv[1]), broadcast_port=None, interface="127.0.0.1", name="mortal", heartbeat_s=0.2
    )
    print(client.submit("stage", "scan", ["a"], on_death=sys.argv[2]).id, flush=True)
    time.sleep(600)
"""


def mortal(server: SubprocessServer, on_death: str) -> tuple[subprocess.Popen[str], str]:
    """Another process that has submitted a job; and the job's id."""
    arguments = [sys.executable, "-c", textwrap.dedent(SUBMIT), str(server.rpc_port), on_death]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def bury(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_a_client_that_was_killed_finds_its_job_again(
    server: SubprocessServer, client: RouterClient, tmp_path: Path
) -> None:
    process, job_id = mortal(server, "keep")
    try:
        job = client.job(job_id)
        poll_until(lambda: job.progress.fraction, PATIENCE_S)
    finally:
        bury(process)
    busy_for(2.0)  # longer than a death takes to be noticed
    assert job.refresh().state is JobState.RUNNING
    assert job.info.who == "mortal"
    (tmp_path / "go").touch()
    assert job.result(PATIENCE_S) == "scanned a"


def test_the_job_of_a_killed_client_is_cancelled_where_that_was_chosen(
    server: SubprocessServer, client: RouterClient
) -> None:
    heard: list[Event] = []
    process, job_id = mortal(server, "cancel")
    try:
        job = client.job(job_id)
        poll_until(lambda: job.progress.fraction, PATIENCE_S)
        client.on_event(heard.append, "command_result")
        poll_until(lambda: client._reception.feeds[":command_result"].synchronised.is_set(), PATIENCE_S)
    finally:
        bury(process)
    with pytest.raises(JobCancelledError, match="cancelled because mortal is gone"):
        job.result(PATIENCE_S)
    poll_until(lambda: heard, PATIENCE_S)
    assert (heard[0].kind, heard[0].context["id"], heard[0].context["state"]) == ("stage.scan", job_id, "cancelled")


def test_a_server_that_is_closed_in_good_order_ends_its_jobs(server: SubprocessServer, client: RouterClient) -> None:
    job = _running(client)
    outcome: list[Any] = []
    job.on_done(lambda handle: outcome.append(handle.info))
    server.terminate()
    with pytest.raises((JobCancelledError, ServerLostError)):
        job.result(PATIENCE_S)
    if job.done:
        poll_until(lambda: outcome)
        assert job.info.reason == "the server was closed"
