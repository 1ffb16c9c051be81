"""The published `auto-trainer-api`, unmodified, on the other end: its console and its enums against our service, our
peer and our console against its service.

It is never installed beside us. Each version has an environment of its own under `.published/`, or under the folder
that `ONE_LINER_PUBLISHED` names; `.ci/run` makes them. Where they are missing these tests are skipped, and say so. It
is run, and nothing of it is copied: it is under a licence that ours is not.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import Any

import pytest

from one_liner.control import Command, CommandRequest, CommandResponse, ControlPeer, ControlService, Published, Result
from one_liner.errors import PortInUseError
from tests.conftest import default_ports, poll_until

FOLDER = Path(os.environ.get("ONE_LINER_PUBLISHED", Path(__file__).parent.parent / ".published"))
VERSIONS = ("0.9.7", "0.12.0")
CONSOLE = FOLDER / "auto_trainer_api-0.9.7" / "scripts" / "remote_console.py"
BIN = "Scripts" if sys.platform == "win32" else "bin"
DEADLINE_S = 40
CONSOLE_PORTS = {"broadcast_port": 5556, "command_port": 5557}
"""The published console knows no others."""


def python_of(version: str) -> str:
    """The interpreter of the environment of one version."""
    return str(FOLDER / version / BIN / "python")


pytestmark = [
    pytest.mark.skipif(
        not all(Path(python_of(version)).exists() for version in VERSIONS) or not CONSOLE.exists(),
        reason=f"auto-trainer-api {' and '.join(VERSIONS)} are not under {FOLDER}; .ci/run puts them there",
    ),
]

NUMBERS = """\
import json
from autotrainer.api import ApiCommand, ApiEventKind, ApiTopic
print(json.dumps([{m.name: m.value for m in enum} for enum in (ApiCommand, ApiEventKind, ApiTopic)]))
"""

SUBSCRIBER = """\
import json, struct, sys, zmq
from autotrainer.api import ApiEventKind, ApiTopic
sub = zmq.Context().socket(zmq.SUB)
sub.connect(sys.argv[1])
sub.subscribe(b"")
while True:
    topic, content = sub.recv_multipart()
    content = json.loads(content)
    if sys.argv[2] == "text":
        assert isinstance(content, str), content
        content = json.loads(content)
    topic = ApiTopic(struct.unpack("<i", topic)[0])
    if topic in (ApiTopic.EVENT, ApiTopic.EMERGENCY):
        content["kind"] = ApiEventKind(content["kind"]).name
    print(json.dumps([topic.name, content]), flush=True)
"""

SERVICE = """\
import sys, time
import autotrainer.api as api
from autotrainer.api.api_options import RpcOptions
broadcast_port, command_port = map(int, sys.argv[1:])
options = RpcOptions(heartbeat_interval=1, subscriber_port=broadcast_port, command_port=command_port)
service = api.create_api_service(api.ApiOptions(rpc=options))
Results = getattr(api, "ApiCommandReqeustResult", None) or api.ApiCommandRequestResult

def handle(request):
    if request.command == api.ApiCommand.GET_STATUS:
        return api.ApiCommandRequestResponse(Results.SUCCESS, data={"given": request.data, "app_status": 3})
    if request.command == api.ApiCommand.START_ACQUISITION:
        return api.ApiCommandRequestResponse(Results.PENDING_WITH_NOTIFICATION)
    if request.command == api.ApiCommand.USER_DEFINED:
        return api.ApiCommandRequestResponse(Results.SUCCESS, data={"custom": request.custom_command})
    raise ValueError("boom")

service.command_request_delegate = handle
service.start()
print("started", flush=True)
for kind in sys.stdin:
    kind = api.ApiEventKind[kind.strip()]
    if hasattr(service, "send_event_dict"):
        service.send_event_dict(api.build_event(kind, {"some_key": 1}))
    else:
        event = {"kind": kind, "when": time.time(), "index": time.perf_counter_ns(), "context": {"some_key": 1}}
        service.send_dict(api.ApiTopic.EVENT, event)
service.stop()
"""


def ask(version: str, script: str, *arguments: str) -> Any:
    """What a script says that runs beside the published package."""
    ran = subprocess.run(
        [python_of(version), "-c", script, *arguments], capture_output=True, text=True, timeout=DEADLINE_S, check=True
    )
    return ran.stdout


@contextmanager
def run(version: str, script: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A script that runs beside the published package until it is not wanted any more."""
    process = subprocess.Popen(
        [python_of(version), "-c", script, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def numbers(version: str) -> tuple[type[IntEnum], type[IntEnum]]:
    """Its catalogues of commands and of kinds of events, as an application would hand them in."""
    commands, kinds, topics = json.loads(ask(version, NUMBERS))
    assert topics == {
        "ANY": 0,
        "HEARTBEAT": 1001,
        "EMERGENCY": 2001,
        "EVENT": 4001,
        "PROPERTY_CHANGE": 5001,
        "COMMAND_RESULT": 6001,
    }
    made: Any = IntEnum("Commands", commands), IntEnum("Kinds", kinds)
    return made


@default_ports
def test_its_console_against_our_service(version: str, numbers: tuple[type[IntEnum], type[IntEnum]]) -> None:
    commands, kinds = numbers
    asked: list[CommandRequest] = []

    def handle(request: CommandRequest) -> Any:
        asked.append(request)
        if request.command.name == "GET_STATUS":
            return CommandResponse(data={"data_location": "/data/some_day", "depth": -5})
        raise ValueError("not possible now")

    service = ControlService(commands=commands, event_kinds=kinds, **CONSOLE_PORTS)
    service.add_handler(None, handle)
    try:
        service.start()
    except PortInUseError as error:
        pytest.skip(f"the published console knows two ports only, and {error}")
    try:
        console = subprocess.run(
            [python_of(version), str(CONSOLE)],
            input="status\nconfiguration\nq\n",
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        )
    finally:
        service.stop()
    assert console.returncode == 0, console.stderr
    assert "Traceback" not in console.stderr
    assert "'data': {'dataLocation': '/data/some_day', 'depth': -5}" in console.stdout
    assert "'errorMessage': 'ValueError: not possible now'" in console.stdout
    assert [(request.command.name, request.nonce) for request in asked] == [("GET_STATUS", 1), ("GET_CONFIGURATION", 2)]


def test_a_subscriber_with_its_enums(version: str, numbers: tuple[type[IntEnum], type[IntEnum]]) -> None:
    commands, kinds = numbers
    as_text = version == "0.9.7"
    service = ControlService(
        broadcast_port=0, command_port=0, commands=commands, event_kinds=kinds, events_as_text=as_text, heartbeat_s=0.05
    )
    with service:
        service.start()
        with run(version, SUBSCRIBER, service.broadcast_endpoint, "text" if as_text else "plain") as subscriber:
            assert subscriber.stdout is not None
            assert json.loads(subscriber.stdout.readline())[0] == "HEARTBEAT"
            service.send_event("dayStarted", {"file_path": "/a/b_c", "step": -3})
            service.send_event("emergencyStop", None)
            service.send_command_result(400, 5, {"some_key": 1})
            told: list[Any] = []
            while len(told) < 4:
                topic, content = json.loads(subscriber.stdout.readline())
                if topic != "HEARTBEAT":
                    told.append((topic, content.get("kind"), content.get("context")))
    assert told == [
        ("EVENT", "dayStarted", {"filePath": "/a/b_c", "step": -3}),
        ("EMERGENCY", "emergencyStop", None),
        ("EVENT", "emergencyStop", None),
        ("COMMAND_RESULT", None, None),
    ]


@pytest.fixture
def its_service(version: str) -> Iterator[tuple[subprocess.Popen[str], int, int]]:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as another:
        ports = one.getsockname()[1], another.getsockname()[1]
    with run(version, SERVICE, *map(str, ports)) as process:
        assert process.stdout is not None
        while process.stdout.readline().strip() != "started":
            assert process.poll() is None
        yield process, *ports


def test_our_peer_against_its_service(
    version: str,
    its_service: tuple[subprocess.Popen[str], int, int],
    numbers: tuple[type[IntEnum], type[IntEnum]],
) -> None:
    process, broadcast_port, command_port = its_service
    commands, kinds = numbers
    heard: list[Published] = []
    with ControlPeer("127.0.0.1", broadcast_port, command_port) as peer:
        peer.listen(heard.append)
        status = peer.command(commands["GET_STATUS"], {"foo_bar": 1}, timeout_s=DEADLINE_S)
        assert (status.result, status.data) == (Result.SUCCESS, {"given": {"fooBar": 1}, "appStatus": 3})
        assert peer.command(commands["START_ACQUISITION"]).result is Result.PENDING_WITH_NOTIFICATION
        assert peer.custom(77).data == {"custom": 77}
        failed = peer.command(commands["GET_CONFIGURATION"])
        assert (failed.result, failed.error_message) == (Result.EXCEPTION, "boom")
        poll_until(lambda: heard, what="a heartbeat", timeout_s=DEADLINE_S)
        assert process.stdin is not None
        process.stdin.write("dayStarted\n")
        process.stdin.flush()
        events = poll_until(lambda: [one for one in heard if one.topic == 4001], timeout_s=DEADLINE_S)
    assert events[0].content["kind"] == kinds["dayStarted"]
    assert events[0].content["context"] == {"someKey": 1}
    assert commands["GET_STATUS"] == Command.GET_STATUS


def test_our_console_against_its_service(version: str, its_service: tuple[subprocess.Popen[str], int, int]) -> None:
    _, broadcast_port, command_port = its_service
    ports = ["--broadcast-port", str(broadcast_port), "--command-port", str(command_port)]
    console = subprocess.run(
        [sys.executable, "-m", "one_liner.cli", "control-console", *ports],
        input="status foo_bar=-5\ncustom 77\nconfiguration\n",
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert re.search(r"#\d+ GET_STATUS SUCCESS", console.stdout), console.stderr
    assert '"appStatus": 3' in console.stdout
    assert '"custom": 77' in console.stdout
    assert re.search(r"#\d+ GET_CONFIGURATION EXCEPTION .* boom", console.stdout)
    assert console.returncode == 1  # The last one failed.
