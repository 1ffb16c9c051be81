"""`one-liner run`, `jobs` and `events` as they are used: real processes, real signals, a real terminal."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from one_liner.client import RouterClient
from one_liner.commands.job import Job
from one_liner.commands.state import JobState
from one_liner.server import RouterServer
from tests.conftest import poll_until
from tests.test_cli import COMMAND, DEADLINE_S, ENVIRONMENT

POSIX = pytest.mark.skipif(os.name != "posix", reason="terminals and SIGINT to another process are POSIX's")


class Stage:
    def __init__(self) -> None:
        self.go = threading.Event()

    def scan(self, job: Job, points: int, fast: bool = True) -> dict[str, Any]:
        """Scan so many points."""
        job.log("lamp on")
        for index in range(points):
            job.progress((index + 1) / points, f"point {index}")
        while not fast and not self.go.is_set():
            job.sleep(0.01)
        return {"points": points}

    def fails(self, job: Job) -> None:
        raise ValueError("axis 3 is stuck")


@pytest.fixture
def stage() -> Stage:
    return Stage()


@pytest.fixture
def server(stage: Stage) -> Iterator[RouterServer]:
    with RouterServer(rpc_port=0, broadcast_port=0, instances={"stage": stage}) as server:
        server.run()
        yield server
        stage.go.set()


def arguments(server: RouterServer, *words: str) -> list[str]:
    return [*COMMAND, words[0], "--server", f"127.0.0.1:{server.rpc_port}", *words[1:]]


def one_liner(server: RouterServer, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        arguments(server, *words),
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=ENVIRONMENT,
        timeout=DEADLINE_S,
        stdin=subprocess.DEVNULL,
    )


@contextlib.contextmanager
def running(server: RouterServer, *words: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        arguments(server, *words),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env=ENVIRONMENT,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_run_prints_progress_beside_and_the_result(server: RouterServer) -> None:
    done = one_liner(server, "run", "stage", "scan", "4", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"points": 4}
    assert "stage.scan: lamp on" in done.stderr
    assert "stage.scan: succeeded 100 % point 3" in done.stderr


def test_run_says_what_was_raised_and_what_was_refused(server: RouterServer) -> None:
    failed = one_liner(server, "run", "stage", "fails")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert "ValueError: axis 3 is stuck" in failed.stderr
    refused = one_liner(server, "run", "stage", "scan")
    assert refused.returncode == 1
    assert "missing a required argument: 'points'" in refused.stderr
    late = one_liner(server, "run", "stage", "scan", "1", "fast=false", "--limit", "0.1")
    assert late.returncode == 1
    assert "its time was up" in late.stderr


def test_a_job_is_left_listed_followed_and_cancelled(server: RouterServer, stage: Stage) -> None:
    assert one_liner(server, "jobs").stdout.strip() == "there are no jobs"
    job_id = one_liner(server, "run", "stage", "scan", "2", "fast=false", "--detach").stdout.strip()
    poll_until(lambda: server.job(job_id).progress.fraction == 1.0)
    listed = one_liner(server, "jobs").stdout
    assert job_id in listed
    assert "100 % point 1" in listed
    (known,) = json.loads(one_liner(server, "jobs", "--json").stdout)
    assert (known["id"], known["state"], known["command"]) == (job_id, "running", "stage.scan")
    assert one_liner(server, "jobs", job_id, "--log").stdout == "lamp on\n"
    with running(server, "jobs", job_id, "--follow", "--json") as following:
        stage.go.set()
        out, _ = following.communicate(timeout=DEADLINE_S)
    assert json.loads(out) == {"points": 2}
    again = one_liner(server, "jobs", job_id, "--cancel")
    assert "had succeeded before" in again.stderr
    unknown = one_liner(server, "jobs", "nonsense")
    assert unknown.returncode == 1
    assert "there is no job 'nonsense'" in unknown.stderr
    assert one_liner(server, "jobs", "--cancel").returncode == 2


def test_pause_resume_cancel(server: RouterServer) -> None:
    job_id = one_liner(server, "run", "stage", "scan", "1", "fast=false", "--detach").stdout.strip()
    for option, state in (
        ("--pause", JobState.PAUSED),
        ("--resume", JobState.RUNNING),
        ("--cancel", JobState.CANCELLED),
    ):
        assert one_liner(server, "jobs", job_id, option).returncode == 0
        poll_until(lambda: server.job(job_id).state is state)  # noqa: B023


@POSIX
def test_ctrl_c_cancels_where_nobody_can_be_asked(server: RouterServer) -> None:
    with running(server, "run", "stage", "scan", "1", "fast=false") as process:
        poll_until(lambda: server.jobs() and server.jobs()[0].progress.fraction, DEADLINE_S)
        assert process.stderr is not None
        while "100 %" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 1
    assert "was cancelled" in errors
    assert server.jobs()[0].state is JobState.CANCELLED


@POSIX
@pytest.mark.parametrize(("answer", "state"), [("c", JobState.CANCELLED), ("l", JobState.RUNNING)])
def test_in_a_terminal_there_is_a_bar_and_ctrl_c_asks(server: RouterServer, answer: str, state: JobState) -> None:
    import pty

    master, terminal = pty.openpty()
    shown: list[bytes] = []

    def read() -> None:
        with contextlib.suppress(OSError):  # What a terminal says when nobody holds its other end.
            while data := os.read(master, 10_000):
                shown.append(data)

    process = subprocess.Popen(
        arguments(server, "run", "stage", "scan", "1", "fast=false"),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env=ENVIRONMENT,
        start_new_session=True,
    )
    os.close(terminal)
    reader = threading.Thread(target=read)
    reader.start()
    try:
        for said in b"point 0", b"lamp on":
            poll_until(lambda said=said: said in b"".join(shown), DEADLINE_S)  # type: ignore[misc]
        process.send_signal(signal.SIGINT)
        poll_until(lambda: b"ancel it" in b"".join(shown), DEADLINE_S)
        os.write(master, f"{answer}\n".encode())
        process.wait(DEADLINE_S)
    finally:
        process.kill()
        process.wait()
        reader.join(DEADLINE_S)
        os.close(master)
    text = b"".join(shown).decode(errors="replace")
    assert "lamp on" in text
    assert "━" in text
    assert server.jobs()[0].state is state
    assert process.returncode == (1 if answer == "c" else 130)


def test_events_are_printed_as_they_come(server: RouterServer) -> None:
    server.emit("early", {"n": 1})
    server.emit("other")
    with running(
        server, "events", "--json", "--kind", "early", "--kind", "7", "--kind", "fire", "--count", "3"
    ) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["kind"] == "early"
        server.emergency("fire")
        server.emit(7, "seven")
        out, _ = process.communicate(timeout=DEADLINE_S)
    assert sorted((str(one["kind"]), one["topic"]) for one in map(json.loads, out.splitlines())) == [
        ("7", "event"),
        ("fire", "emergency"),
    ]
    once = one_liner(server, "events", "--once", "--last", "2")
    assert [line.split()[1:3] for line in once.stdout.splitlines()] == [["emergency", "fire"], ["event", "7"]]
    assert one_liner(server, "events", "--topic", "gossip").returncode == 2


@pytest.mark.parametrize("kind", ["²", "--7", "٣", "-", "9" * 30])
def test_a_kind_that_only_looks_like_a_number_is_text(server: RouterServer, kind: str) -> None:
    server.emit(kind)
    server.emit("other")
    found = one_liner(server, "events", "--once", "--json", f"--kind={kind}")
    assert [json.loads(line)["kind"] for line in found.stdout.splitlines()] == [kind], found.stderr


def test_events_end_when_the_time_is_up_whether_any_came_or_not(server: RouterServer) -> None:
    server.emit("before")
    found = one_liner(server, "events", "--json", "--seconds", "0.5")
    assert [json.loads(line)["kind"] for line in found.stdout.splitlines()] == ["before"]
    assert (found.returncode, found.stderr) == (0, "")
    assert one_liner(server, "events", "--seconds", "-1").returncode != 0


def test_all_jobs_as_they_come(server: RouterServer) -> None:
    with (
        running(server, "jobs", "--follow", "--json") as process,
        RouterClient(rpc_port=server.rpc_port, broadcast_port=None, interface="127.0.0.1") as client,
    ):
        client.submit("stage", "scan", [1]).result(DEADLINE_S)
        assert process.stdout is not None
        seen: list[str] = []
        while "succeeded" not in seen:
            seen.append(json.loads(process.stdout.readline())["state"])


def test_every_command_is_in_the_reference() -> None:
    reference = (Path(__file__).parent.parent / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
    for command in ("run", "jobs", "events"):
        assert f"one-liner {command}" in reference
