"""The command line as it is used: real processes, what they print, and their exit codes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from one_liner.cli import main
from one_liner.cli.connection import Address
from one_liner.cli.values import in_full, in_one_line, read_arguments, to_json
from one_liner.errors import ConfigurationError
from tests.conftest import poll_until

DEADLINE_S = 40
COMMAND = [sys.executable, "-m", "one_liner.cli"]
ENVIRONMENT = {**os.environ, "PYTHONUTF8": "1", "TERM": "xterm"}
for _variable in ("ONE_LINER_SERVER", "ONE_LINER_KEYS", "ONE_LINER_SERVER_KEY", "ONE_LINER_CLIENTS"):
    ENVIRONMENT.pop(_variable, None)

LAB = '''\
import threading

class Laser:
    """A laser that exists only here."""

    def __init__(self):
        self.power = 0.0
        self.reads = 0

    def set_power(self, power: float, ramp: bool = False) -> float:
        """Set the power in mW and return it."""
        if not 0 <= power <= 100:
            raise ValueError(f"power must be within 0 and 100 mW, not {power}")
        self.power = power
        return power

    def read(self) -> int:
        """Count how often it was read."""
        self.reads += 1
        return self.reads

    def echo(self, *args, **kwargs):
        return [list(args), kwargs]

    def failing(self):
        raise RuntimeError("no light")

    def slow(self):
        threading.Event().wait(5)


class Both:
    """Can be called itself, and a named call has its name."""

    name = "both"

    def __call__(self, text):
        return f"called with {text}"

    def hidden(self):
        return "called by name"
'''
RIG = """\
[objects.laser]
type = "lab_of_cli:Laser"
[objects.root]
import = "math:sqrt"
[objects.both]
type = "lab_of_cli:Both"
[named_calls.both]
obj_name = "both"
attr_name = "hidden"
[named_calls.off]
obj_name = "laser"
attr_name = "set_power"
args = [0]
[periodic_streams.reading]
obj_name = "laser"
attr_name = "read"
frequency_hz = 50
[periodic_streams.broken]
obj_name = "laser"
attr_name = "failing"
frequency_hz = 20
enabled = false
"""


def _start(*arguments: str, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *arguments],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        env=ENVIRONMENT,
    )


def _run(*arguments: str) -> tuple[int, str, str]:
    """A command to its end: exit code, standard output, standard error."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=DEADLINE_S,
        encoding="utf-8",
        env=ENVIRONMENT,
        check=False,
    )
    assert "Traceback (most recent call last)" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def _end(process: subprocess.Popen[str], number: int) -> int:
    with process:
        process.send_signal(number)
        return process.wait(DEADLINE_S)


@pytest.fixture(scope="module", autouse=True)
def _interruptible() -> Iterator[None]:
    """A shell starts background jobs with Ctrl-C ignored, and children inherit that."""
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rig")
    (folder / "lab_of_cli.py").write_text(LAB)
    (folder / "rig.toml").write_text(RIG)
    return folder


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    """Where `one-liner serve` serves the rig, in a process of its own."""
    process = _start("serve", str(folder / "rig.toml"), "--rpc-port", "0", "--broadcast-port", "0")
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        match = re.fullmatch(r"serving at (tcp://127\.0\.0\.1:\d+)\n", line)
        assert match, line + process.stdout.read()
        assert process.stdout.readline().startswith("streams at tcp://127.0.0.1:")
        assert process.stdout.readline() == "objects: laser, root, both; Ctrl-C ends it\n"
        yield match[1]
    finally:
        code = _end(process, signal.SIGINT if sys.platform != "win32" else signal.SIGTERM)
    assert code == 0 or sys.platform == "win32"


@pytest.fixture
def at_server(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONE_LINER_SERVER", address)


# --- serve -----------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM that a process could catch")
def test_serve_closes_on_sigterm(folder: Path) -> None:
    process = _start("serve", str(folder / "rig.toml"), "--rpc-port", "0", "--broadcast-port", "0")
    assert process.stdout is not None
    port = int(process.stdout.readline().rpartition(":")[2])
    assert _end(process, signal.SIGTERM) == 0
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", port))


def test_serve_names_the_line_of_a_mistake(folder: Path) -> None:
    file = folder / "wrong.toml"
    file.write_text(RIG.replace("frequency_hz = 50", "frequency_hz = -1"))
    assert _run("serve", str(file)) == (
        2,
        "",
        f"{file}:17: periodic_streams.reading.frequency_hz: must be positive, not -1\n",
    )


@pytest.mark.parametrize("options", [["--rpc-port", "x"], ["--protocol", "udp"], ["--interface", "192.0.2.1"]])
def test_serve_refuses_options_that_cannot_be(
    folder: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", str(folder / "rig.toml"), *options]) == 2
    assert capsys.readouterr().err.count("\n") == 1


# --- ls --------------------------------------------------------------------------------------------------------------


def test_ls_shows_everything(address: str) -> None:
    code, out, err = _run("ls", "--server", address)
    assert (code, err) == (0, "")
    for text in (
        "A laser that exists only here.",
        "set_power(power: float, ramp: bool = False) -> float  Set the power in mW and return it.",
        "power: float (read-write)",
        "laser.set_power(0)",
        "laser.read",
        "periodic, disabled",
    ):
        assert text in out
    assert all(line == line.rstrip() for line in out.splitlines())


@pytest.mark.usefixtures("at_server")
def test_ls_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ls", "--json"]) == 0
    described = json.loads(capsys.readouterr().out)
    assert {one["name"] for one in described["objects"]} == {"laser", "root", "both"}
    assert described["streams"]["reading"]["frequency_hz"] == 50


@pytest.mark.usefixtures("at_server")
@pytest.mark.parametrize(
    ("name", "kind", "shown"),
    [
        ("laser", "object", "set_power("),
        ("reading", "stream", "laser.read"),
        ("off", "named call", "off = laser.set_power(0)"),
    ],
)
def test_ls_of_one_name(name: str, kind: str, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ls", name]) == 0
    assert shown in capsys.readouterr().out
    assert main(["ls", name, "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)) == [kind]


@pytest.mark.usefixtures("at_server")
def test_ls_of_a_name_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ls", "lasr"]) == 1
    assert capsys.readouterr().err == "one-liner: no object 'lasr'; did you mean 'laser'?\n"


# --- ledger, running, leases -----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("at_server")
def test_ledger_of_some_streams(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ledger", "broken", "reading", "broken", "--json"]) == 0
    counters = json.loads(capsys.readouterr().out)
    assert list(counters) == ["broken", "reading"]
    assert counters["broken"]["produced"] == 0


def test_ledger_follows_a_server_and_those_behind_it(capsys: pytest.CaptureFixture[str]) -> None:
    from one_liner.client import RouterClient
    from one_liner.server import RouterServer

    with (
        RouterServer(rpc_port=0, broadcast_port=0) as north,
        RouterServer(rpc_port=0, broadcast_port=0) as server,
        contextlib.ExitStack() as stack,
    ):
        north.run()
        server.run()
        server.add_router("north", rpc_port=north.rpc_port)
        north.get_stream_fn("far")(1)
        push = server.get_stream_fn("near")
        push(1)
        push(2)
        anna = stack.enter_context(RouterClient(rpc_port=server.rpc_port, broadcast_port=None, name="anna"))
        anna.configure_stream("north/far", wait=True)
        follow = ["ledger", "--follow", "--seconds", "4", "--server", server.rpc_endpoint]
        assert main([*follow, "--json"]) == 0
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert len(lines) >= 2
        assert {name: row["produced"] for name, row in lines[-1].items()} == {"near": 2, "north/far": 1}
        assert [one["who"] for one in lines[-1]["north/far"]["readers"]] == ["anna"]
        assert lines[-1]["near"]["readers"] == []
        assert main([*follow, "north/far"]) == 0
        shown = capsys.readouterr().out
        assert re.search(r"^stream +produced +published", shown)
        assert re.search(r"^north/far +1 +1", shown, re.MULTILINE)
        assert re.search(r"^stream +reader +expected +delivered", shown, re.MULTILINE)
        assert re.search(r"^north/far +anna +0 +0", shown, re.MULTILINE)
        assert "near" not in shown
        assert main(["watch", ":ledger", "north/:ledger", "--count", "1", "--server", server.rpc_endpoint]) == 0
        assert "north/:ledger #" in capsys.readouterr().out
        assert main(["ledger", "--follow", "nrth/far", "--server", server.rpc_endpoint]) == 1
        assert "did you mean 'north/far'?" in capsys.readouterr().err


def test_a_server_with_nothing_to_tell(capsys: pytest.CaptureFixture[str]) -> None:
    from one_liner.server import RouterServer

    with RouterServer(rpc_port=0, broadcast_port=0) as server:
        server.run()
        for command, words, plain in (
            ("ledger", "this server has no streams", {}),
            ("running", "nothing is running", []),
            ("leases", "nobody has exclusive control of anything", []),
        ):
            assert main([command, "--server", server.rpc_endpoint]) == 0
            assert capsys.readouterr().out == f"{words}\n"
            assert main([command, "--json", "--server", server.rpc_endpoint]) == 0
            assert json.loads(capsys.readouterr().out) == plain


# --- call, get, set --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("at_server")
def test_who_would_not_wait_is_told_what_for(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    with _start("call", "laser", "slow", "-s", address) as process:
        poll_until(lambda: main(["running", "--json"]) == 0 and "laser.slow" in capsys.readouterr().out, DEADLINE_S)
        assert main(["call", "laser", "read", "--if-busy", "refuse"]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert re.match(r"one-liner: laser\.read did not run: 'laser' is at work with laser\.slow for \S+ since", err)
        assert main(["get", "laser", "power", "--if-busy", "refuse"]) == 1
        assert main(["set", "laser", "power", "1", "--if-busy", "refuse"]) == 1
        assert process.wait(DEADLINE_S) == 0
        assert process.stdout is not None
        process.stdout.read()
    assert main(["call", "laser", "slow", "--if-busy", "no"]) == 2


def test_call_in_a_process(address: str) -> None:
    assert _run("call", "laser", "set_power", "5", "ramp=true", "-s", address) == (0, "5\n", "")


@pytest.mark.usefixtures("at_server")
@pytest.mark.parametrize(
    ("words", "printed"),
    [
        (["call", "laser", "echo", "-5", "1e-3", "x", '"5"', "[1,null]"], "[[-5, 0.001, 'x', '5', [1, None]], {}]"),
        (["call", "laser", "echo", "on=True", "name=a=b"], "[[], {'on': True, 'name': 'a=b'}]"),
        (["call", "laser", "echo", "1", "--json"], "[[1], {}]"),
        (["call", "off"], "0"),
        (["call", "off", "7"], "7"),
        (["call", "root", "9"], "3.0"),
        (["call", "both", "name"], "both"),
        (["call", "both"], "called by name"),
    ],
)
def test_calls(words: list[str], printed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    assert capsys.readouterr().out == f"{printed}\n"


@pytest.mark.usefixtures("at_server")
def test_attributes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["set", "laser", "power", "-2"]) == 0
    assert capsys.readouterr().out == ""
    for words in (["get", "laser", "power"], ["call", "laser", "power"], ["get", "laser", "power", "--json"]):
        assert main(words) == 0
        assert capsys.readouterr().out == "-2\n"


@pytest.mark.usefixtures("at_server")
def test_a_remote_exception(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["call", "laser", "set_power", "500"]) == 1
    first, place, code = capsys.readouterr().err.splitlines()
    assert first == "ValueError: power must be within 0 and 100 mW, not 500"
    assert re.fullmatch(r'  File ".*lab_of_cli\.py", line 13, in set_power', place)
    assert code.startswith("    raise ValueError(")
    assert main(["call", "laser", "set_power", "500", "--traceback"]) == 1
    whole = capsys.readouterr().err.splitlines()
    assert whole[:2] == ["remote traceback of laser.set_power:", "Traceback (most recent call last):"]
    assert whole[-1] == first


@pytest.mark.usefixtures("at_server")
@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["call", "lasr", "5"], 1, "no named call 'lasr'"),
        (["call", "lasr", "set_power", "5"], 1, "no object 'lasr'; did you mean 'laser'?"),
        (["call", "laser", "set_powr", "5"], 1, "laser has no attribute 'set_powr'"),
        (["call", "laser", "set_power"], 1, "missing a required argument: 'power'"),
        (["call", "nothing"], 1, "no named call 'nothing'"),
        (["call", "laser", "slow", "--timeout", "0.05"], 1, "no answer within 0.05 s"),
        (["get", "laser", "_power"], 1, "private"),
        (["set", "laser", "set_power", "5"], 1, "set_power"),
        (["enable", "nothing"], 1, "nothing"),
        (["watch", "readin"], 1, "no stream 'readin'; did you mean 'reading'?"),
        (["call", "laser", "read", "--server", "a:b:c"], 2, "a server is written"),
        (["call", "laser", "read", "--timeout", "-1"], 2, "a timeout is"),
        (["call"], 2, ""),
        (["no-such-command"], 2, ""),
        (["watch", "--count", "0"], 2, ""),
        (["watch", "reading", "--seconds", "nan"], 2, "a timeout is"),
        (["ledger", "--follow", "--seconds", "-1"], 2, "a timeout is"),
    ],
)
def test_errors_are_a_line_and_a_number(
    words: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    if message:
        assert err.startswith("one-liner: ")
        assert err.count("\n") == 1


def test_no_server() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        code, out, err = _run("get", "a", "b", "-s", f"127.0.0.1:{unused.getsockname()[1]}", "--timeout", "0.2")
    assert (code, out) == (3, "")
    assert err.startswith("one-liner: nobody answers at tcp://127.0.0.1:")
    assert err.count("\n") == 1


# --- watch, enable, disable ------------------------------------------------------------------------------------------


def test_watch_prints_a_line_per_sample(address: str) -> None:
    code, out, err = _run("watch", "reading", "--count", "5", "--server", address)
    assert (code, err) == (0, "")
    *samples, ledger = out.splitlines()
    found = [re.fullmatch(r"reading #(\d+) \+-?\d+\.\dms (\d+)", line) for line in samples]
    numbers = [int(one[1]) for one in found if one]
    assert numbers == list(range(numbers[0], numbers[0] + 5))
    assert re.fullmatch(r"# reading: \d+ expected = \d+ delivered \+ \d+ waiting", ledger)


@pytest.mark.usefixtures("at_server")
def test_watch_in_a_cache(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", "reading", "--cache", "--count", "2"]) == 0
    assert len([line for line in capsys.readouterr().out.splitlines() if line.startswith("reading #")]) == 2


@pytest.mark.usefixtures("at_server")
def test_streams_on_and_off(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", "broken", "--seconds", "0.2"]) == 1
    assert capsys.readouterr().err == "one-liner: nothing came; disabled: broken\n"
    assert main(["enable", "broken"]) == 0
    try:
        assert main(["watch", "broken", "--count", "2"]) == 0
        assert "broken #- +" in (out := capsys.readouterr().out)
        assert "RuntimeError: no light" in out
    finally:
        assert main(["disable", "broken"]) == 0


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="there are no pseudo-terminals")
def test_watch_in_a_terminal_shows_a_table(address: str) -> None:
    master, slave = os.openpty()
    with subprocess.Popen(
        [*COMMAND, "watch", "--seconds", "1", "-s", address],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**ENVIRONMENT, "COLUMNS": "80", "LINES": "24"},
    ) as process:
        os.close(slave)
        shown = b""
        with contextlib.suppress(OSError):  # how Linux says that the other end is closed
            while some := os.read(master, 65536):
                shown += some
        os.close(master)
        assert process.wait(DEADLINE_S) == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    assert re.search(r"reading +\d+ +\S+ +50 +-?\d+ ms +0", text)
    assert re.search(r"broken +disabled", text)
    assert "# reading: " in text


# --- demo ------------------------------------------------------------------------------------------------------------


def test_demo() -> None:
    code, out, err = _run("demo", "--seconds", "3")
    assert (code, err) == (0, "")
    for stream in ("load", "memory", "network", "temperature", "camera"):
        assert re.search(rf"^{stream}: .+ of \d+ Hz", out, re.MULTILINE), out
    assert "camera: 480x640 uint8 mean" in out
    assert "call machine.uptime() -> " in out
    assert "call camera.set_exposure(-5) -> ValueError: the exposure must be from 0.1 to 20 ms, not -5" in out
    assert re.search(r"^ok: \d+ samples of 5 streams came", out, re.MULTILINE)


def test_the_server_of_the_demo_ends_with_the_one_who_watches() -> None:
    with _start("demo", "--seconds", "60") as process:
        assert process.stdout is not None
        match = re.search(r"tcp://127\.0\.0\.1:(\d+)", process.stdout.readline())
        assert match
        process.kill()

    def gone() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", int(match[1]))) != 0

    poll_until(gone, what="the end of the server")


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_the_demo_says_why_it_failed() -> None:
    with _start("demo", "--seconds", "4") as process:
        assert process.stdout is not None
        match = re.match(r"process (\d+) serves", process.stdout.readline())
        assert match
        os.kill(int(match[1]), signal.SIGKILL)
        out = process.stdout.read()
    assert process.returncode == 1
    assert re.search(r"^one-liner demo failed: .*\d of \d calls failed, first ", out, re.MULTILINE)
    assert "Traceback" not in out


def test_demo_at_a_port_that_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, out, err = _run("demo", "--seconds", "1", "--rpc-port", str(port))
    assert (code, out) == (2, "")
    assert str(port) in err
    assert err.startswith("one-liner: ")


# --- the words of the command line -----------------------------------------------------------------------------------


@pytest.mark.parametrize("module", ["one_liner", "one_liner.cli"])
def test_as_a_module(module: str) -> None:
    from one_liner.version import __version__

    done = subprocess.run([sys.executable, "-m", module, "--version"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, f"{__version__}\n"), done.stderr
    wrong = subprocess.run([sys.executable, "-m", module, "no-such"], capture_output=True, text=True, timeout=60)
    assert wrong.returncode == 2
    assert "Usage: one-liner" in wrong.stderr


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    from one_liner.version import __version__

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"{__version__}\n"


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_the_extra_it_says_what_to_install(missing: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; from one_liner.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=DEADLINE_S, env=ENVIRONMENT, check=False
    )
    assert done.returncode == 2
    assert done.stderr == "one-liner: this needs: pip install 'one_liner[cli]'\n"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("rig", ("tcp", "rig", "5555")),
        ("10.0.0.5:6000", ("tcp", "10.0.0.5", "6000")),
        (":6000", ("tcp", "localhost", "6000")),
        ("tcp://rig.lab:6000", ("tcp", "rig.lab", "6000")),
        ("[::1]:6000", ("tcp", "::1", "6000")),
        ("ipc:///tmp/rig:5555", ("ipc", "/tmp/rig", "5555")),
    ],
)
def test_addresses(text: str, parts: tuple[str, str, str]) -> None:
    assert Address.read(text) == parts


@pytest.mark.parametrize(
    "text", ["", "tcp://", "a:b", "a:1:2", "a:65536", "a:١", "http://a", "ipc://a", "inproc://a:1", "a b"]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ConfigurationError, match="a server is written"):
        Address.read(text)


def test_arguments() -> None:
    words = ["5", "-1.5", "true", "False", "None", "text", "5 mW", '"5"', '{"a": [1]}', "a=1", "b=x=y", "1=2", ""]
    assert read_arguments(words) == (
        [5, -1.5, True, False, None, "text", "5 mW", "5", {"a": [1]}, "1=2", ""],
        {"a": 1, "b": "x=y"},
    )


def test_values_for_people() -> None:
    import numpy as np

    image = np.zeros((48, 64), np.uint8)
    image[:, -6:] = 255
    assert in_one_line(image) == "48x64 uint8 mean 23.91 ▁▁▁▁▁▁▁▁▁▁▁█"
    assert in_full({"image": image, "n": 1}) == "{'image': <array 48x64 uint8 mean 23.91 ▁▁▁▁▁▁▁▁▁▁▁█>, 'n': 1}"
    assert in_full(np.array([1, 2])) == "array([1, 2])"
    assert in_one_line(np.zeros((0, 3))) == "0x3 float64"
    assert in_one_line([0.0, 1.0, float("nan"), 2.0]) == "4 numbers, mean nan ▁▅▁█"
    assert in_one_line({"a": 1.23456, "b": [1, "x"]}) == "a 1.235, b (1, x)"
    assert in_one_line(b"\x00" * 100) == "100 bytes 00 00 00 00 00 00 00 00 …"
    assert in_one_line("two\nlines") == "two lines"
    assert in_full("two\nlines") == "two\nlines"


def test_values_for_machines() -> None:
    import datetime
    import enum
    from dataclasses import dataclass

    import numpy as np

    from one_liner.wire.types import EnumValue

    class Colour(enum.Enum):
        RED = 1

    @dataclass
    class Point:
        x: float

    value = {
        "array": np.eye(2),
        "scalar": np.float32(0.5),
        "nan": float("nan"),
        "complex": 1 + 2j,
        "bytes": b"abc",
        "set": {3},
        "time": datetime.datetime(2024, 1, 2),
        "enum": Colour.RED,
        "unknown enum": EnumValue("rig.Colour", "RED", 1),
        "point": Point(1.0),
        5: (True, None),
    }
    assert json.loads(to_json(value)) == {
        "array": [[1, 0], [0, 1]],
        "scalar": 0.5,
        "nan": None,
        "complex": [1, 2],
        "bytes": "YWJj",
        "set": [3],
        "time": "2024-01-02T00:00:00",
        "enum": 1,
        "unknown enum": 1,
        "point": {"x": 1},
        "5": [True, None],
    }
