"""`one-liner control-demo` and `control-console` as they are used: processes, pipes, and a terminal."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from one_liner.cli.control.words import data_of, number_meant
from one_liner.control import Command, CommandRequest, ControlPeer, ControlService, Published, Topic
from one_liner.errors import ConfigurationError
from tests.conftest import poll_until

DEADLINE_S = 40
COMMAND = [sys.executable, "-m", "one_liner.cli"]
NAMES = {command.name: int(command) for command in Command}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONUTF8": "1", "TERM": "xterm", "XDG_STATE_HOME": str(tmp_path), "COLUMNS": "200"}


# --- words -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "number"),
    [("GET_STATUS", 400), ("getstatus", 400), ("status", 400), ("Stop_Acq", 110), ("resume", 210), ("1234", 1234)],
)
def test_a_word_of_a_name_is_enough(word: str, number: int) -> None:
    assert number_meant(word, NAMES) == number


@pytest.mark.parametrize(("word", "says"), [("stop", "STOP_ACQUISITION"), ("get_statsu", "did you mean get_status")])
def test_what_is_not_clear_is_asked_back(word: str, says: str) -> None:
    names = {**NAMES, "STOP_NOW": 5}
    with pytest.raises(ConfigurationError, match=says):
        number_meant(word, names)


def test_data_is_named_values_or_json() -> None:
    assert data_of([]) is None
    assert data_of(["power=-5", "path=/a/b", "on=true"]) == {"power": -5, "path": "/a/b", "on": True}
    assert data_of(['{"a":', '"b', 'c"}']) == {"a": "b c"}
    for wrong in (["5"], ["{5"], ["power", "5"]):
        with pytest.raises(ConfigurationError):
            data_of(wrong)


# --- the demo --------------------------------------------------------------------------------------------------------


class Demo:
    """`one-liner control-demo`, typed into through a pipe."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, "control-demo", "--broadcast-port", "0", "--command-port", "0", "--heartbeat", "0.05"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**environment, "PYTHONUNBUFFERED": "1"},
        )
        self.lines: list[str] = []
        self._reader = Thread(target=self._read)
        self._reader.start()
        found = poll_until(lambda: self.find(r"events at tcp://127.0.0.1:(\d+)"), DEADLINE_S)
        self.ports = int(found[1]), int(self.find(r"commands at tcp://127.0.0.1:(\d+)")[1])

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(iter(self.process.stdout.readline, ""))

    def find(self, pattern: str) -> Any:
        return re.search(pattern, "".join(self.lines))

    def type(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.fixture
def demo(environment: dict[str, str]) -> Iterator[Demo]:
    made = Demo(environment)
    yield made
    made.close()


def test_the_demo_answers_beats_and_publishes_what_is_typed(demo: Demo) -> None:
    heard: list[Published] = []
    with ControlPeer("127.0.0.1", *demo.ports) as peer:
        peer.listen(heard.append)
        poll_until(lambda: heard, DEADLINE_S)
        assert heard[0].content["identifier"] == "control-demo"
        assert peer.command(Command.GET_STATUS).data["state"] == "idle"
        demo.type('event EMERGENCY_STOP {"some_path": "/a/b_c"}')
        demo.type("property laser.power 1.5 -2")
        demo.type("event door_opened")
        demo.type("nonsense")
        told = poll_until(lambda: [one for one in heard if one.topic != Topic.HEARTBEAT][3:], DEADLINE_S) and heard
        poll_until(lambda: demo.find("there is no 'nonsense'"), DEADLINE_S)
    topics = [one.topic for one in told if one.topic != Topic.HEARTBEAT]
    assert topics == [Topic.EMERGENCY, Topic.EVENT, Topic.PROPERTY_CHANGE, Topic.EVENT]
    assert demo.find("command GET_STATUS nonce")
    demo.type("quit")
    assert demo.process.wait(DEADLINE_S) == 0


def test_an_acquisition_of_the_demo(demo: Demo) -> None:
    heard: list[Published] = []
    with ControlPeer("127.0.0.1", *demo.ports) as peer:
        peer.listen(heard.append, [Topic.HEARTBEAT, Topic.COMMAND_RESULT])
        poll_until(lambda: heard, DEADLINE_S)
        assert peer.command(Command.START_ACQUISITION, {"duration_s": -1}).error_code == 1
        started = peer.command(Command.START_ACQUISITION, {"duration_s": 600})
        assert started.result.name == "PENDING_WITH_NOTIFICATION"
        assert peer.command(Command.START_ACQUISITION).error_code == 3
        assert peer.command(Command.EMERGENCY_STOP).result.name == "SUCCESS"
        ends = poll_until(lambda: [one.content for one in heard if one.topic == Topic.COMMAND_RESULT], DEADLINE_S)
        assert (ends[0]["nonce"], ends[0]["result"], ends[0]["errorCode"]) == (started.nonce, 400, 5)
        assert peer.command(Command.START_ACQUISITION).error_code == 2
        peer.command(Command.EMERGENCY_RESUME)
        assert peer.command(Command.STOP_ACQUISITION).error_code == 4


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM to be caught")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_demo_in_the_background_ends_when_it_is_told_to(demo: Demo, number: int) -> None:
    assert demo.process.stdin is not None
    demo.process.stdin.close()
    demo.process.send_signal(number)
    assert demo.process.wait(DEADLINE_S) == 0
    assert "Traceback" not in "".join(demo.lines)


def test_a_port_that_is_taken_is_said(demo: Demo, environment: dict[str, str]) -> None:
    ran = subprocess.run(
        [*COMMAND, "control-demo", "--broadcast-port", "0", "--command-port", str(demo.ports[1])],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        env=environment,
        stdin=subprocess.DEVNULL,
    )
    assert ran.returncode == 2
    assert "in use" in ran.stderr


# --- the console -----------------------------------------------------------------------------------------------------


@pytest.fixture
def service() -> Iterator[ControlService]:
    with ControlService("rig", broadcast_port=0, command_port=0, heartbeat_s=0.1) as made:
        made.start()
        yield made


def _console(service: ControlService, lines: str, environment: dict[str, str], *more: str) -> Any:
    ports = ["--broadcast-port", str(service.broadcast_port), "--command-port", str(service.command_port)]
    return subprocess.run(
        [*COMMAND, "control-console", *ports, *more],
        input=lines,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        env=environment,
    )


def test_the_console_in_a_pipe(service: ControlService, environment: dict[str, str]) -> None:
    asked: list[CommandRequest] = []
    service.add_handler(None, lambda request: asked.append(request) or {"app_state": "[bold]idle"})
    ran = _console(service, "status\ncustom 77 x=-5\n# a comment\n4711\nhelp\ncommands\nevents off\n", environment)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert [(one.command, one.custom_command, one.data) for one in asked] == [
        (Command.GET_STATUS, -1, None),
        (Command.USER_DEFINED, 77, {"x": -5}),
        (Command.USER_DEFINED, 4711, None),
    ]
    assert re.search(r"#\d+ GET_STATUS SUCCESS \([\d.]+ ms\)", ran.stdout)
    assert '"appState": "[bold]idle"' in ran.stdout
    assert "name=value" in ran.stdout
    assert " 99999  USER_DEFINED" in ran.stdout
    assert "shown: nothing" in ran.stdout


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("status", "UNAVAILABLE"),
        ("frobnicate", "there is no 'frobnicate'"),
        ("status 5", "name=value"),
        ("custom", "custom 77"),
        ('status "5', "quotation"),
        ("events sometimes", "there is no 'sometimes'"),
    ],
)
def test_what_does_not_work_is_said_and_counts(
    service: ControlService, environment: dict[str, str], line: str, says: str
) -> None:
    ran = _console(service, line + "\nhelp\n", environment)
    assert ran.returncode == 1
    assert says in ran.stdout
    assert "Traceback" not in ran.stdout + ran.stderr
    assert "quit" in ran.stdout  # It went on.


def test_a_console_without_a_service(environment: dict[str, str]) -> None:
    service = ControlService(broadcast_port=2, command_port=1)
    ran = _console(service, "status\n", environment, "--timeout", "0.1")
    assert ran.returncode == 1
    assert "no answer came within 0.1 s" in ran.stdout


LAB = """\
from enum import IntEnum
class Commands(IntEnum):
    OPEN_SHUTTER = 7
class Kinds(IntEnum):
    shutterOpened = 70
"""


def test_a_console_with_the_commands_of_the_application(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "lab_of_console.py").write_text(LAB)
    environment = {**environment, "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])}
    with ControlService(broadcast_port=0, command_port=0) as service:
        service.add_handler(7, lambda request: "open")
        service.start()
        more = ("--commands", "lab_of_console:Commands", "--events", "lab_of_console:Kinds")
        ran = _console(service, "shutter\n", environment, *more)
        assert "OPEN_SHUTTER SUCCESS" in ran.stdout
        ran = _console(service, "shutter\n", environment, "--commands", "lab_of_console:Nothing")
    assert ran.returncode == 2
    assert "has no 'Nothing'" in ran.stderr


class Terminal:
    """A console in a terminal of its own."""

    def __init__(self, arguments: list[str], environment: dict[str, str]) -> None:
        import fcntl
        import pty
        import termios

        self.seen = ""
        self._fd, inner = pty.openpty()
        fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        self.process = subprocess.Popen(arguments, stdin=inner, stdout=inner, stderr=inner, env=environment)
        os.close(inner)

    def type(self, keys: str) -> None:
        os.write(self._fd, keys.encode())

    def see(self, wanted: str | Callable[[str], Any]) -> None:
        """Read until something is there, and forget what was seen."""
        there = wanted if callable(wanted) else lambda text: wanted in text

        def look() -> bool:
            while select.select([self._fd], [], [], 0)[0]:
                try:
                    read = os.read(self._fd, 65536).decode(errors="replace")
                except OSError:  # Linux says so at the end.
                    break
                if not read:
                    break
                if "\x1b[6n" in read:  # It asks where the cursor is.
                    os.write(self._fd, b"\x1b[1;1R")
                self.seen += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", read)
            return bool(there(self.seen))

        poll_until(look, DEADLINE_S, f"{wanted!r} in the terminal")
        self.seen = ""

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._fd)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_the_console_in_a_terminal_has_history_completion_and_live_events(
    service: ControlService, environment: dict[str, str]
) -> None:
    pytest.importorskip("prompt_toolkit", reason="needs prompt-toolkit: pip install 'one_liner[control]'")
    asked: list[CommandRequest] = []
    service.add_handler(None, lambda request: asked.append(request))
    ports = ["--broadcast-port", str(service.broadcast_port), "--command-port", str(service.command_port)]
    terminal = Terminal([*COMMAND, "control-console", *ports], environment)
    try:
        terminal.see("control>")
        terminal.see("rig")  # The bottom line has heard a heartbeat.
        terminal.type("GET_ST\t")
        terminal.see("ATUS")
        terminal.type("\r")
        terminal.see("SUCCESS")
        service.send_event("door_opened", {"which_door": "north"})
        terminal.see('{"whichDoor": "north"}')
        terminal.type("\x1b[A\r")  # The line before this one.
        # Ctrl-D ends it at a prompt only: between two of them it is the terminal that takes it.
        terminal.see(lambda text: "control>" in text.partition("SUCCESS")[2])
        assert [request.command for request in asked] == [Command.GET_STATUS] * 2
        terminal.type("\x04")
        assert terminal.process.wait(DEADLINE_S) == 0
    finally:
        terminal.close()
    history = Path(environment["XDG_STATE_HOME"]) / "one_liner" / "control-console.history"
    assert "+GET_STATUS" in history.read_text()


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_without_prompt_toolkit_a_terminal_is_told_what_to_install(environment: dict[str, str]) -> None:
    code = "import sys; sys.modules['prompt_toolkit'] = None; from one_liner.cli import main; sys.exit(main())"
    terminal = Terminal([sys.executable, "-c", code, "control-console"], environment)
    try:
        terminal.see("pip install 'one_liner[control]'")
        assert terminal.process.wait(DEADLINE_S) == 2
    finally:
        terminal.close()


def test_what_the_console_prints_is_json_that_can_be_read(service: ControlService, environment: dict[str, str]) -> None:
    service.add_handler(Command.GET_STATUS, lambda request: {"text": "x" * 500, "n": -1e-9})
    ran = _console(service, "status\n", environment)
    assert json.loads(ran.stdout[ran.stdout.index("{") :]) == {"text": "x" * 500, "n": -1e-9}
