"""The gateway's parts: routers in an application of one's own, https, and the commands that use a gateway."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import enum
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the gateway needs one_liner[gateway]")

import httpx
import numpy as np
from fastapi import FastAPI
from websockets.sync.client import connect

from one_liner import RouterServer
from one_liner.errors import ConfigurationError, NoServerError, OneLinerError, RefusedError
from one_liner.gateway import (
    Gateway,
    NumpyClient,
    Settings,
    add_fault_handlers,
    array_router,
    create_app,
    instrument_router,
)
from one_liner.gateway.access import Role, Token, read_tokens
from one_liner.gateway.annotations import is_scalar, type_of
from one_liner.gateway.frames import binary_frame, read_binary_frame
from one_liner.gateway.json_values import dumps
from one_liner.gateway.rate_limit import Rates
from one_liner.gateway.settings import Server, servers_of
from one_liner.testing import SubprocessServer
from one_liner.wire.types import EnumValue
from tests.gateway_process import GatewayProcess, make_lab_that_talks
from tests.web import PATIENCE_S, serving

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "MPLBACKEND": "Agg"}


def command(*words: str, timeout_s: float = 50) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "one_liner.cli", *words],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        env=ENVIRONMENT,
    )


@pytest.fixture(scope="module")
def gateway() -> Iterator[GatewayProcess]:
    with (
        SubprocessServer(make_lab_that_talks) as lab,
        GatewayProcess("--server", f"127.0.0.1:{lab.rpc_port}") as gateway,
    ):
        gateway.wait_connected()
        yield gateway


# --- commands --------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(300)
def test_web_commands(gateway: GatewayProcess, tmp_path: Path) -> None:
    url = ("--url", f"http://127.0.0.1:{gateway.port}")
    assert '"status": "healthy"' in command("web", "health", *url).stdout
    assert command("web", "upload-demo", *url).stdout.count("success") == 3
    np.save(tmp_path / "a.npy", np.arange(5))
    assert '"index": 3' in command("web", "upload", str(tmp_path / "a.npy"), *url).stdout
    assert '"count": 4' in command("web", "list", *url).stdout
    assert command("web", "get", "3", "-o", str(tmp_path / "b.npy"), *url).returncode == 0
    np.testing.assert_array_equal(np.load(tmp_path / "b.npy"), np.arange(5))
    stream = command("web", "stream", "--duration", "1", *url)
    assert (stream.returncode, stream.stdout.splitlines()[-1].endswith("messages came")) == (0, True)
    missing = command("web", "get", "99", *url)
    assert (missing.returncode, missing.stderr.startswith("one-liner: there is no array 99")) == (1, True)
    assert command("web", "health", "--url", "http://127.0.0.1:1").returncode == 3
    assert command("web", "upload", str(tmp_path / "nothing.npy"), *url).returncode == 2


def test_plot_from_a_gateway(gateway: GatewayProcess, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the plot needs one_liner[plot]")
    file = tmp_path / "plot.png"
    words = ("plot", "power", "--duration", "4", "--save", str(file), "--url", f"http://127.0.0.1:{gateway.port}")
    plot = command(*words)
    assert plot.returncode == 0, plot.stderr
    assert file.read_bytes().startswith(b"\x89PNG")
    # Nobody there: it tries on, and says at the end that nothing came.
    nobody = command("plot", "power", "--duration", "2", "--save", str(file), "--url", "http://127.0.0.1:1")
    assert nobody.returncode == 1
    assert "trying again" in nobody.stdout


def test_plot_says_what_cannot_be_plotted_or_saved(gateway: GatewayProcess, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the plot needs one_liner[plot]")
    url = ("--url", f"http://127.0.0.1:{gateway.port}")
    words = command("plot", "words", "--duration", "3", "--save", str(tmp_path / "plot.png"), *url)
    assert words.returncode == 1
    assert words.stdout.count("only numbers can be plotted, unlike 'many'") == 1
    assert "Traceback" not in words.stderr
    failing = command("plot", "failing", "--duration", "3", "--save", str(tmp_path / "plot.png"), *url)
    assert failing.stdout.count("one-liner plot: no light") == 1
    for place, reason in ((tmp_path / "nowhere" / "plot.png", "there is no folder"), (tmp_path / "plot.xyz", "png")):
        wrong = command("plot", "power", "--duration", "1000", "--save", str(place), *url)
        assert wrong.returncode == 2
        assert reason in wrong.stderr
        assert "Traceback" not in wrong.stderr


def test_web_stream_says_why_nothing_came(gateway: GatewayProcess) -> None:
    url = ("--url", f"http://127.0.0.1:{gateway.port}")
    failing = command("web", "stream", "--stream", "failing", "--duration", "3", *url)
    assert (failing.returncode, failing.stderr) == (1, "one-liner: nothing came: no light\n")
    assert '"many"' in command("web", "stream", "--stream", "words", "--duration", "3", *url).stdout


@pytest.mark.parametrize("path", ["/api/streams/failing/ws", "/ws/stream?stream=failing"])
def test_a_sample_that_is_an_error_is_a_message_of_that_type(gateway: GatewayProcess, path: str) -> None:
    with connect(f"ws://127.0.0.1:{gateway.port}{path}") as stream:
        stream.send('{"action": "start"}')
        while (message := json.loads(stream.recv(PATIENCE_S)))["type"] == "status":
            pass
    assert (message["type"], message["stream"], message["message"]) == ("error", "failing", "no light")
    assert message["detail"] == "ValueError: no light"


def test_a_stream_that_is_not_there_is_said_and_the_others_come(gateway: GatewayProcess) -> None:
    with connect(f"ws://127.0.0.1:{gateway.port}/ws/stream?stream=nothing&stream=power") as stream:
        stream.send('{"action": "start"}')
        came: dict[str, Any] = {}
        while {"error", "data"} - set(came):
            message = json.loads(stream.recv(PATIENCE_S))
            came[message["type"]] = message
    assert came["data"]["stream"] == "power"
    assert came["error"]["stream"] == "nothing"
    assert "there is no stream 'nothing'" in came["error"]["message"]


class Answering:
    """Something that answers, and is no gateway."""

    def __init__(self, answer: bytes) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run, args=(answer,))

    def _run(self, answer: bytes) -> None:
        connection, _ = self._listener.accept()
        with connection:
            connection.recv(65_536)
            connection.sendall(answer)

    def __enter__(self) -> Answering:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        self._listener.close()


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"", NoServerError),
        (b"220 mail.example ESMTP\r\n\r\n", NoServerError),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", NoServerError),
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", RefusedError),
        (b"HTTP/1.1 418 Teapot\r\nContent-Length: 0\r\n\r\n", NoServerError),
    ],
)
def test_what_is_no_gateway_is_an_error_of_ours(answer: bytes, kind: type[OneLinerError]) -> None:
    with Answering(answer) as other, NumpyClient(other.url) as client, pytest.raises(kind):
        client.connect_streaming(print)


def test_a_stream_that_refuses_us_says_so() -> None:
    app = create_app("localhost:1", Settings(tokens=[Token("a-long-secret")]))
    with serving(app) as served, NumpyClient(served.http) as client:
        stream = client.connect_streaming(print)
        with pytest.raises(RefusedError, match="token"):
            stream.wait(PATIENCE_S)


# --- in an application of one's own ----------------------------------------------------------------------------------


class Thing:
    size = 3


async def _ask(app: FastAPI, gateway: Gateway, path: str) -> httpx.Response:
    async with gateway.running(), httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as http:
        return await http.get(path)


def test_parts_alone_and_the_whole_mounted() -> None:
    with RouterServer(rpc_port=0, broadcast_port=0, instances={"thing": Thing()}) as server:
        server.run()
        gateway = Gateway(f"127.0.0.1:{server.rpc_port}")
        app = FastAPI()
        app.state.gateway = gateway
        add_fault_handlers(app)
        app.include_router(instrument_router(), prefix="/lab")
        app.include_router(array_router())
        assert asyncio.run(_ask(app, gateway, "/lab/instrument/thing/size")).json() == {"message": "size", "value": 3}
        missing = asyncio.run(_ask(app, gateway, "/array/5"))
        assert (missing.status_code, missing.json()["status"]) == (404, "error")
        inner = create_app(f"127.0.0.1:{server.rpc_port}")
        outer = FastAPI()
        outer.mount("/lab", inner)
        assert asyncio.run(_ask(outer, inner.state.gateway, "/lab/instrument/size")).json()["value"] == 3


# --- https -----------------------------------------------------------------------------------------------------------


def test_https(tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)],
        capture_output=True,
    )  # fmt: skip
    if made.returncode:
        pytest.skip("openssl cannot make a certificate here")
    options = ("--certificate", str(certificate), "--certificate-key", str(key), "--server", "127.0.0.1:1")
    with GatewayProcess(*options) as gateway:
        trust = ssl.create_default_context(cafile=str(certificate))
        with urllib.request.urlopen(f"https://127.0.0.1:{gateway.port}/health", context=trust, timeout=20) as answer:
            assert answer.status == 200
    assert command("gateway", "--certificate", str(certificate)).returncode == 2


# --- logic -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (None, Any),
        ("str", str),
        ("list[int]", "list"),
        ("dict[str, float]", "dict"),
        ("tuple[int, str]", "tuple"),
        ("np.ndarray", Any),
        ("Literal['a', 'b']", "Literal"),
        ("datetime.datetime", datetime.datetime),
        ("__import__('os').system('x')", Any),
        ("not an annotation", Any),
        ("(" * 5000, Any),
        ("int | Stage", Any),
        ("Union[()]", Any),
        ("list[()]", Any),
        ("Optional[()]", Any),
        ("Literal[...]", Any),
    ],
)
def test_annotations_are_read_and_never_evaluated(annotation: str | None, expected: Any) -> None:
    found = type_of(annotation)
    assert expected in str(found) if isinstance(expected, str) else found is expected


def test_what_fits_a_query() -> None:
    assert all(map(is_scalar, ("int", "float | None", "Literal[1, 2]", "bool")))
    assert not any(map(is_scalar, (None, "list[int]", "dict", "Stage", "(")))


def test_rates_are_kept_for_each_client() -> None:
    rates = Rates(10)
    assert [rates.admit("a", 0.0) for _ in range(11)] == [True] * 10 + [False]
    assert rates.admit("b", 0.0)
    assert not rates.admit("a", 0.05)
    assert rates.admit("a", 0.2)


@pytest.mark.parametrize(
    "value",
    [np.arange(6, dtype=">i2").reshape(2, 3), np.zeros((0, 4)), np.array(2.5), b"raw", {"a": [1, None]}, "text",
     np.array([(1, 2.5)], dtype=[("a", "<i4"), ("b", "<f8")])],
    ids=repr,
)  # fmt: skip
def test_binary_frames_come_back(value: Any) -> None:
    frame = binary_frame({"stream": "x"}, value)
    length = int.from_bytes(frame[:4], "little")
    assert (4 + length) % 8 == 0
    head, back = read_binary_frame(frame)
    assert head["stream"] == "x"
    np.testing.assert_array_equal(back, value)


def test_what_cannot_be_configured(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for make in (
        lambda: Server("a/b"),
        lambda: Server("host", "a/b"),
        lambda: Settings(stream_hz=0),
        lambda: Settings(rate_hz=-1),
        lambda: Settings(timeout_s=-1),
        lambda: Gateway("localhost:1", Settings(array_dir=tmp_path / "file" / "folder")),
        lambda: Server("localhost:70000"),
        lambda: Server("localhost", keys=tmp_path / "nothing.key").check_keys(),
        lambda: Token("short"),
        lambda: servers_of(["a=x:1", "a=y:2"]),
        lambda: Role.of("king"),
        lambda: read_tokens(tmp_path / "nothing.toml"),
    ):
        with pytest.raises(ConfigurationError):
            make()
    file = tmp_path / "tokens.toml"
    for text in ("", "[anna]\nrole = 3", '[anna]\ntoken = "long enough"\nrole = "king"', "no toml"):
        file.write_text(text)
        with pytest.raises(ConfigurationError):
            read_tokens(file)
    file.write_text('[anna]\ntoken = "long enough"')
    assert read_tokens(file) == (Token("long enough", Role.CONTROL, "anna"),)


def test_a_gateway_that_cannot_begin_leaves_nothing_open(tmp_path: Path) -> None:
    servers = [Server("127.0.0.1:1", "one"), Server("127.0.0.1:1", "two", keys=tmp_path / "nothing.key")]
    gateway = Gateway(servers)

    async def begin() -> None:
        async with gateway.running():
            raise AssertionError("it has begun")

    with pytest.raises(ConfigurationError):
        asyncio.run(begin())
    assert [str(rig.client.state) for rig in gateway.rigs.all()] == ["closed"]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "options",
    [
        ("--server", "localhost:70000"),
        ("--port", "70000"),
        ("--keys", "nothing.key", "--server-key", "nothing.pub"),
        ("--timeout", "-1"),
        ("--array-dir", __file__),
    ],
)
def test_a_command_that_cannot_be_done_says_so_in_a_line(options: tuple[str, ...]) -> None:
    done = command("gateway", "--no-ui", *options)
    assert done.returncode == 2
    assert done.stderr.startswith("one-liner: ")
    assert "Traceback" not in done.stderr
    assert "listening" not in done.stdout


def test_an_address_that_is_open_to_everybody_is_told(tmp_path: Path) -> None:
    nowhere = ("gateway", "--no-ui", "--host", "192.0.2.1")  # Nobody has it: what is said comes before it is taken.
    assert "whoever reaches this address" in command(*nowhere).stderr
    tokens = tmp_path / "tokens.toml"
    tokens.write_text('[anna]\ntoken = "long enough"')
    kept = command(*nowhere, "--tokens", str(tokens))
    assert kept.returncode == 2
    assert "whoever reaches this address" not in kept.stderr


# --- JSON ------------------------------------------------------------------------------------------------------------


class Mode(enum.Enum):
    FAST = "fast"


@dataclasses.dataclass
class Point:
    x: float
    hidden: Any = None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (float("nan"), "null"),
        ([1.5, float("-inf")], "[1.5,null]"),
        (2**70, str(2**70)),
        ({1: 2, None: 3, 0.5: [2**65]}, '{"1":2,"null":3,"0.5":[36893488147419103232]}'),
        ("µ", '"µ"'),
        ("\ud800", r'"\ud800"'),
        (Mode.FAST, '"fast"'),
        ({"mode": Mode.FAST}, '{"mode":"fast"}'),
        ({"mode": EnumValue("rig.Mode", "FAST", "fast")}, '{"mode":"fast"}'),
        (EnumValue("rig.Mode", "FAST", None), '"FAST"'),
        (Point(float("inf"), {1: b"\0"}), '{"x":null,"hidden":{"1":"AA=="}}'),
        (1 + 2j, "[1.0,2.0]"),
        (np.float32(0.5), "0.5"),
        (np.array([[1, 2]], np.uint8), "[[1,2]]"),
        (np.array([1.0, np.nan]), "[1.0,null]"),
        ({"when": datetime.datetime(2026, 1, 2, 3, 4, 5)}, '{"when":"2026-01-02T03:04:05"}'),
        ((datetime.timedelta(seconds=1.5), {3}), "[1.5,[3]]"),
    ],
)
def test_what_instruments_return_has_a_form_in_json(value: Any, text: str) -> None:
    assert dumps(value).decode() == text


def test_what_is_nested_without_end_is_cut_off() -> None:
    endless: list[Any] = []
    endless.append(endless)
    assert dumps(endless).startswith(b"[[[[")
