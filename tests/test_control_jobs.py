"""Jobs and events of the core, for peers that know neither: beside a server, through a cascade, when one is killed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy
import pytest

from one_liner import RouterClient, RouterServer
from one_liner.commands.job import Job
from one_liner.control import Command, CommandResponse, ControlPeer, ControlService, ErrorKind, Published, Result, Topic
from one_liner.control import core as core_of_control
from one_liner.errors import ConfigurationError
from one_liner.testing import SubprocessServer
from tests.conftest import poll_until

PATIENCE_S = 30.0


class Commands(IntEnum):
    START_ACQUISITION = 100
    STOP_ACQUISITION = 110
    FAIL = 1000
    TOO_FAR = 1010
    NOWHERE = 1020
    QUICK = 1030
    UNWRITABLE = 1040


class Kinds(IntEnum):
    emergencyStop = 101  # noqa: N815
    doorOpened = 2001  # noqa: N815


OTHER = 4711
"""Another command that begins the same job."""


class Stage:
    """Scans until a file is there; each begin is a line in another one."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        self._power = 1.0

    @property
    def power(self) -> float:
        return self._power

    @power.setter
    def power(self, power: float) -> None:
        self._power = power

    def scan(self, job: Job, step_nm: float = 0, name: str = "") -> dict[str, Any]:
        with (self._folder / "begun").open("a") as file:
            file.write(f"{name}\n")
        while not (self._folder / "go").exists():
            job.progress(0.5, "scanning")
            job.sleep(0.01)
        return {"file_path": "/data/a_b", "step_nm": step_nm, "counts": numpy.arange(3)}

    def fail(self) -> None:
        raise ValueError("no light")

    def too_far(self, job: Job) -> None:
        job.progress(1.5)

    def quick(self) -> int:
        return 7

    def unwritable(self) -> complex:
        return 1j


def serve(rpc_port: int, broadcast_port: int, folder: str) -> RouterServer:
    return RouterServer(
        rpc_port=rpc_port, broadcast_port=broadcast_port, heartbeat_s=0.3, instances={"stage": Stage(folder)}
    )


def give_jobs(service: ControlService, path: str = "stage") -> None:
    service.add_job(Commands.START_ACQUISITION, path, "scan")
    service.add_job(OTHER, path, "scan")
    service.add_job(Commands.FAIL, path, "fail")
    service.add_job(Commands.TOO_FAR, path, "too_far")
    service.add_job(Commands.NOWHERE, path, "nowhere")
    service.add_job(Commands.QUICK, path, "quick")
    service.add_job(Commands.UNWRITABLE, path, "unwritable")
    service.add_cancel(Commands.STOP_ACQUISITION, Commands.START_ACQUISITION)


class Ends:
    """A peer, and all that it has heard."""

    def __init__(self, service: ControlService) -> None:
        self.heard: list[Published] = []
        self.peer = ControlPeer("127.0.0.1", service.broadcast_port, service.command_port)
        self.peer.listen(self.heard.append)
        poll_until(lambda: service.send_heartbeat() and self.heard, PATIENCE_S)

    def begin(self, command: Commands, data: Any = None) -> CommandResponse:
        begun = self.peer.command(command, data, timeout_s=PATIENCE_S)
        assert begun.result is Result.PENDING_WITH_NOTIFICATION, begun
        return begun

    def of(self, begun: CommandResponse) -> CommandResponse:
        """How a command ended that was begun."""

        def found() -> list[CommandResponse]:
            ends = [CommandResponse.from_dict(one.content) for one in self.heard if one.topic == Topic.COMMAND_RESULT]
            return [end for end in ends if (end.command, end.nonce) == (begun.command, begun.nonce)]

        (end,) = poll_until(found, PATIENCE_S, what=f"the end of {begun}")
        return end

    def end_of(self, command: Commands) -> CommandResponse:
        """How a command ended, at once or later."""
        begun = self.peer.command(command, timeout_s=PATIENCE_S)
        return self.of(begun) if begun.result is Result.PENDING_WITH_NOTIFICATION else begun

    def events(self, *topics: Topic) -> list[dict[str, Any]]:
        return [one.content for one in self.heard if one.topic in topics]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RouterServer]:
    with RouterServer(rpc_port=0, broadcast_port=0, instances={"stage": Stage(str(tmp_path))}) as made:
        made.run()
        yield made


@pytest.fixture
def service(server: RouterServer) -> Iterator[ControlService]:
    with ControlService(server=server, command_port=0, commands=Commands, event_kinds=Kinds) as made:
        give_jobs(made)
        made.start()
        yield made


@pytest.fixture
def ends(service: ControlService) -> Iterator[Ends]:
    made = Ends(service)
    yield made
    made.peer.close()


# --- beside a server -------------------------------------------------------------------------------------------------


def test_a_job_from_its_begin_to_its_end(server: RouterServer, ends: Ends, tmp_path: Path) -> None:
    begun = ends.begin(Commands.START_ACQUISITION, {"step_nm": -5, "name": "a"})
    info = server.job(begun.data["job"])
    assert info.command == "stage.scan"
    assert info.who.startswith("peer ")
    (tmp_path / "go").touch()
    end = ends.of(begun)
    assert (end.result, end.error_kind) == (Result.SUCCESS, ErrorKind.NONE)
    assert end.data == {"filePath": "/data/a_b", "stepNm": -5, "counts": [0, 1, 2]}


@pytest.mark.parametrize(
    ("command", "result", "kind", "says"),
    [
        (Commands.FAIL, Result.EXCEPTION, ErrorKind.COMMAND_ERROR, "ValueError: no light"),
        (Commands.TOO_FAR, Result.EXCEPTION, ErrorKind.COMMAND_ERROR, "fraction from 0 to 1"),
        (Commands.UNWRITABLE, Result.SUCCESS, ErrorKind.SYSTEM_ERROR, "data: <complex> has no form in JSON"),
        (Commands.QUICK, Result.SUCCESS, ErrorKind.NONE, ""),
    ],
)
def test_how_a_job_can_end(ends: Ends, command: Commands, result: Result, kind: ErrorKind, says: str) -> None:
    end = ends.end_of(command)
    assert (end.result, end.error_kind) == (result, kind)
    assert says in (end.error_message or "")


@pytest.mark.parametrize(
    ("command", "data", "says"),
    [
        (Commands.NOWHERE, None, "nowhere"),
        (Commands.START_ACQUISITION, {"step_mm": 1}, "step_mm"),
    ],
)
def test_a_job_that_is_not_accepted_did_not_run(
    server: RouterServer, ends: Ends, command: Commands, data: Any, says: str
) -> None:
    answer = ends.peer.command(command, data, timeout_s=PATIENCE_S)
    assert (answer.result, answer.error_kind) == (Result.FAILED, ErrorKind.COMMAND_ERROR)
    assert says in str(answer.error_message)
    assert server.jobs() == []
    nothing = ends.peer.command(Commands.STOP_ACQUISITION)
    assert (nothing.result, nothing.error_message) == (Result.FAILED, "none of these jobs runs")


def test_jobs_are_cancelled_by_their_command_or_their_id(
    server: RouterServer, service: ControlService, ends: Ends
) -> None:
    other = ends.peer.custom(OTHER, timeout_s=PATIENCE_S)
    first, second, third = (ends.begin(Commands.START_ACQUISITION) for _ in range(3))
    stopped = ends.peer.command(Commands.STOP_ACQUISITION, {"job": second.data["job"]})
    assert stopped.data == {"jobs": [second.data["job"]]}
    assert "was cancelled: cancelled by peer" in str(ends.of(second).error_message)
    stopped = ends.peer.command(Commands.STOP_ACQUISITION)
    assert sorted(stopped.data["jobs"]) == sorted([first.data["job"], third.data["job"]])
    assert [ends.of(begun).result for begun in (first, third)] == [Result.FAILED] * 2
    assert not server.job(other.data["job"]).state.ended
    jobs = service._jobs
    assert jobs is not None
    poll_until(lambda: len(jobs._begun) == 1)  # Those that ended are forgotten.


def test_cancel_of_a_finished_job_says_so(ends: Ends, tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    begun = ends.begin(Commands.START_ACQUISITION)
    ends.of(begun)
    late = ends.peer.command(Commands.STOP_ACQUISITION, {"job": begun.data["job"]})
    assert (late.result, late.error_message) == (Result.FAILED, f"job {begun.data['job']} had ended before")
    unknown = ends.peer.command(Commands.STOP_ACQUISITION, {"job": "nonsense"})
    assert (unknown.result, unknown.error_message) == (Result.FAILED, "there is no job 'nonsense'")


def test_a_lease_holds_for_jobs_of_peers(server: RouterServer, ends: Ends) -> None:
    begun = ends.begin(Commands.START_ACQUISITION)
    with RouterClient(rpc_port=server.rpc_port, broadcast_port=None, name="anna") as client:
        with client.lease("stage"):
            refused = ends.peer.command(Commands.START_ACQUISITION)
            assert (refused.result, refused.error_kind) == (Result.FAILED, ErrorKind.COMMAND_ERROR)
            assert "anna" in str(refused.error_message)
        assert ends.begin(Commands.START_ACQUISITION).data["job"] != begun.data["job"]
    assert len(ends.peer.command(Commands.STOP_ACQUISITION).data["jobs"]) == 2


def test_a_nonce_used_twice_begins_one_job(server: RouterServer, ends: Ends, tmp_path: Path) -> None:
    answers = [ends.peer.command(Commands.START_ACQUISITION, {"name": "a"}, nonce=5) for _ in range(3)]
    assert [answer.result for answer in answers] == [Result.PENDING_WITH_NOTIFICATION] * 3
    assert "nothing was done again" in str(answers[1].error_message)
    (tmp_path / "go").touch()
    assert ends.of(answers[0]).result is Result.SUCCESS
    assert len(server.jobs()) == 1


def test_events_of_the_server_are_told(server: RouterServer, service: ControlService, ends: Ends) -> None:
    told = [
        server.emit("door_opened", {"which_door": "north", "angle": -3.5}),
        server.emit(Kinds.doorOpened, None),
        server.emit(4711, {"counts": numpy.arange(2)}),
        server.emit("unwritable", {"field": 1j}),
    ]
    events = poll_until(lambda: ends.events(Topic.EVENT)[3:], PATIENCE_S) and ends.events(Topic.EVENT)
    assert [(event["kind"], event.get("name")) for event in events] == [
        (2001, None),  # As the application's enum has it, in any case.
        (2001, None),
        (4711, None),
        (99999, "unwritable"),
    ]
    assert [event["context"] for event in events] == [
        {"whichDoor": "north", "angle": -3.5},
        None,
        {"counts": [0, 1]},
        "{'field': 1j}",
    ]
    assert [(event["when"], event["index"]) for event in events] == [(event.when, event.index) for event in told]


@pytest.mark.parametrize("way", ["emergency", "emit"])
def test_emergencies_of_the_server_go_out_on_both_topics(server: RouterServer, ends: Ends, way: str) -> None:
    getattr(server, way)("emergencyStop", {"reason": "smoke"})
    poll_until(lambda: ends.events(Topic.EVENT), PATIENCE_S)
    topics = [one.topic for one in ends.heard if one.topic in (Topic.EVENT, Topic.EMERGENCY)]
    assert topics == [Topic.EMERGENCY, Topic.EVENT]
    assert [event["kind"] for event in ends.events(Topic.EMERGENCY)] == [101]


def test_changed_properties_are_told(server: RouterServer, ends: Ends) -> None:
    with RouterClient(rpc_port=server.rpc_port, broadcast_port=None, name="anna") as client:
        client.proxy("stage").power = 2.5
    (change,) = poll_until(lambda: ends.events(Topic.PROPERTY_CHANGE), PATIENCE_S)
    assert (change["name"], change["new"], change["who"]) == ("stage.power", 2.5, "anna")


def test_heartbeats_have_the_state_of_the_server(server: RouterServer, service: ControlService, ends: Ends) -> None:
    server.state = "acquiring"
    service.send_heartbeat()
    poll_until(lambda: ends.events(Topic.HEARTBEAT)[-1]["state"] == "acquiring", PATIENCE_S)
    service.state = "mine"
    service.send_heartbeat()
    poll_until(lambda: ends.events(Topic.HEARTBEAT)[-1]["state"] == "mine", PATIENCE_S)


def test_a_service_that_stops_while_a_job_runs(service: ControlService, ends: Ends, server: RouterServer) -> None:
    begun = ends.begin(Commands.START_ACQUISITION)
    service.stop()
    end = ends.of(begun)
    assert (end.result, end.error_kind) == (Result.UNAVAILABLE, ErrorKind.SYSTEM_ERROR)
    assert not server.job(begun.data["job"]).state.ended  # It goes on: the server has it.


def test_jobs_need_somebody_who_has_them() -> None:
    service = ControlService(broadcast_port=0, command_port=0)
    with pytest.raises(ConfigurationError, match="server="):
        service.add_job(100, "stage", "scan")
    with pytest.raises(ConfigurationError, match="server="):
        service.add_cancel(110, 100)


def test_a_server_or_a_client(server: RouterServer) -> None:
    with RouterClient(rpc_port=server.rpc_port) as client, pytest.raises(ConfigurationError, match="not both"):
        ControlService(server=server, client=client)


# --- through a cascade of three --------------------------------------------------------------------------------------


def test_jobs_and_events_through_a_cascade_of_three(tmp_path: Path) -> None:
    with ExitStack() as opened:
        instances: list[dict[str, Any]] = [{"stage": Stage(str(tmp_path))}, {}, {}]
        servers = [RouterServer(rpc_port=0, broadcast_port=0, instances=some) for some in instances]
        far, middle, near = map(opened.enter_context, servers)
        for one in servers:
            one.run()
        middle.add_router("table", rpc_port=far.rpc_port, broadcast_port=None)
        near.add_router("north", rpc_port=middle.rpc_port, broadcast_port=None)
        client = opened.enter_context(RouterClient(rpc_port=near.rpc_port, broadcast_port=None))
        client.wait_until_connected(PATIENCE_S)
        poll_until(lambda: client.call("north/table/stage", "quick") == 7, PATIENCE_S)
        service = opened.enter_context(
            ControlService(client=client, broadcast_port=0, command_port=0, commands=Commands, event_kinds=Kinds)
        )
        give_jobs(service, "north/table/stage")
        service.start()
        ends = Ends(service)
        opened.callback(ends.peer.close)

        begun = ends.begin(Commands.START_ACQUISITION, {"step_nm": 2})
        assert begun.data["job"].startswith("north/table/")
        stopped = ends.begin(Commands.START_ACQUISITION)
        assert ends.peer.command(Commands.STOP_ACQUISITION, {"job": stopped.data["job"]}).result is Result.SUCCESS
        assert ends.of(stopped).result is Result.FAILED
        (tmp_path / "go").touch()
        assert ends.of(begun).data["stepNm"] == 2
        assert "ValueError: no light" in str(ends.end_of(Commands.FAIL).error_message)
        refused = ends.peer.command(Commands.NOWHERE, timeout_s=PATIENCE_S)
        assert (refused.result, refused.error_kind) == (Result.FAILED, ErrorKind.COMMAND_ERROR)
        poll_until(lambda: near.emit(Kinds.doorOpened) and ends.events(Topic.EVENT), PATIENCE_S)


# --- when the server is killed ---------------------------------------------------------------------------------------


@pytest.fixture
def away(tmp_path: Path) -> Iterator[tuple[SubprocessServer, Ends]]:
    """A server in a process of its own, and a peer of the service that stands beside its client."""
    with ExitStack() as opened:
        server = opened.enter_context(SubprocessServer(serve, {"folder": str(tmp_path)}, timeout_s=PATIENCE_S))
        client = opened.enter_context(
            RouterClient(rpc_port=server.rpc_port, broadcast_port=None, interface="127.0.0.1", heartbeat_s=0.3)
        )
        client.wait_until_connected(PATIENCE_S)
        service = opened.enter_context(
            ControlService(client=client, broadcast_port=0, command_port=0, commands=Commands)
        )
        give_jobs(service)
        service.start()
        ends = Ends(service)
        opened.callback(ends.peer.close)
        yield server, ends


def _pending(ends: Ends, folder: Path) -> CommandResponse:
    _running(ends, folder)
    return ends.begin(Commands.START_ACQUISITION)


def _running(ends: Ends, folder: Path) -> CommandResponse:
    begun = ends.begin(Commands.START_ACQUISITION)
    poll_until((folder / "begun").exists, PATIENCE_S)
    return begun


@pytest.mark.parametrize("moment", [_pending, _running])
def test_a_server_that_is_killed_and_started_again(
    away: tuple[SubprocessServer, Ends],
    tmp_path: Path,
    moment: Callable[[Ends, Path], CommandResponse],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(core_of_control, "_LOST_S", 1000.0)  # It is not given up: it says itself that the job is lost.
    server, ends = away
    begun = moment(ends, tmp_path)
    did = (tmp_path / "begun").read_text()
    server.restart()
    end = ends.of(begun)
    assert (end.result, end.error_kind) == (Result.UNAVAILABLE, ErrorKind.SYSTEM_ERROR)
    assert "may or may not have run to its end" in str(end.error_message)
    assert (tmp_path / "begun").read_text() == did  # Nothing is begun again by itself.


@pytest.mark.parametrize("moment", [_pending, _running])
def test_a_server_that_is_killed_and_stays_away(
    away: tuple[SubprocessServer, Ends],
    tmp_path: Path,
    moment: Callable[[Ends, Path], CommandResponse],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(core_of_control, "_LOST_S", 0.5)
    server, ends = away
    begun = moment(ends, tmp_path)
    server.kill()
    end = ends.of(begun)
    assert (end.result, end.error_kind) == (Result.UNAVAILABLE, ErrorKind.SYSTEM_ERROR)
    assert "may or may not run to its end" in str(end.error_message)
    refused = ends.end_of(Commands.QUICK)
    assert (refused.result, refused.error_kind) == (Result.UNAVAILABLE, ErrorKind.SYSTEM_ERROR)


def test_a_server_that_is_away_for_a_moment_comes_back_with_the_job(
    away: tuple[SubprocessServer, Ends], tmp_path: Path
) -> None:
    server, ends = away
    begun = _running(ends, tmp_path)
    server.stop()
    try:
        poll_until(lambda: ends.peer.command(Commands.QUICK, timeout_s=PATIENCE_S).result, PATIENCE_S)
    finally:
        server.resume()
    (tmp_path / "go").touch()
    assert ends.of(begun).result is Result.SUCCESS
    assert begun.command == Command.START_ACQUISITION
