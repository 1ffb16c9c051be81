"""Every example, run as a user runs it: real processes, real sockets, and what they print is what counts."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import default_ports

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
DEADLINE_S = 30.0  # generous: a loaded machine; an example takes a second or two
ANY_PORTS = ("--rpc-port", "0", "--broadcast-port", "0")


class Script:
    """One example script as a process; its lines are collected by a thread of their own."""

    def __init__(self, path: str, *arguments: str, code: str | None = None) -> None:
        self.path = path
        command = [sys.executable, str(EXAMPLES / path)] if code is None else [sys.executable, "-c", code]
        self.process = subprocess.Popen(
            [*command, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"},
        )
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                with self._changed:
                    self._lines.append(line)
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    @property
    def output(self) -> str:
        with self._changed:
            return "".join(self._lines)

    def first_line(self) -> str:
        """The first line it prints, within the deadline."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._lines) or self._ended, DEADLINE_S)
            assert self._lines, f"{self.path} printed nothing"
            return self._lines[0].rstrip("\n")

    def wait_for(self, text: str) -> None:
        """Return when it has printed this."""
        with self._changed:
            self._changed.wait_for(lambda: text in "".join(self._lines) or self._ended, DEADLINE_S)
        assert text in self.output, f"{self.path} never said {text!r}:\n{self.output}"

    def address(self) -> str:
        """The endpoint that its first line names."""
        match = re.fullmatch(r"(?:serving|publishing) at (tcp://127\.0\.0\.1:\d+)", self.first_line())
        assert match, f"{self.path} began with:\n{self.output}"
        return match[1]

    def port(self) -> str:
        return self.address().rpartition(":")[2]

    def finish(self) -> str:
        """Wait for its own end; gives all it printed, and insists on exit code 0."""
        try:
            code = self.process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            pytest.fail(f"{self.path} did not end; it printed:\n{self.output}")
        self._reader.join(DEADLINE_S)
        assert code == 0, f"{self.path} ended with {code}:\n{self.output}"
        assert "Traceback (most recent call last)" not in self.output.replace("on the server:\nTraceback", "")
        return self.output

    def interrupt(self) -> None:
        """End it as a user does, with Ctrl-C, and insist that it goes quietly and soon."""
        if sys.platform == "win32":
            self.kill()
            return
        asked = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        self.finish()
        assert time.monotonic() - asked < 5, f"{self.path} took too long to close"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join(DEADLINE_S)


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """A shell starts background jobs with Ctrl-C ignored, and children inherit that."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, signal.SIG_IGN)


Start = Callable[..., Script]


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


@pytest.fixture
def start() -> Iterator[Start]:
    """Start scripts; whatever still runs at the end of the test is a server, and gets its Ctrl-C."""
    scripts: list[Script] = []

    def run(path: str, *arguments: str, code: str | None = None) -> Script:
        scripts.append(Script(path, *arguments, code=code))
        return scripts[-1]

    yield run
    running = [script for script in reversed(scripts) if script.process.poll() is None]
    try:
        for script in running:
            script.interrupt()
    finally:
        for script in scripts:
            if script.process.poll() is None:
                script.kill()


def numbers(pattern: str, text: str) -> list[float]:
    """All numbers that the pattern's group finds."""
    return [float(number) for number in re.findall(pattern, text)]


@default_ports
def test_quickstart(start: Start) -> None:
    # As short as they are, these two have no options: they use the default ports.
    if not all(is_free(port) for port in (5555, 5556)):
        pytest.skip("NOT RUN: one of the default ports 5555 and 5556 is taken by another program")
    start("01_quickstart/server.py").wait_for("serving at tcp://127.0.0.1:5555")
    output = start("01_quickstart/client.py").finish()
    assert "wavelength: 640.0 nm" in output
    assert "power set to 25.0 mW" in output
    powers = numbers(r"s: ([\d.-]+) mW", output)
    assert len(powers) == 5
    assert powers[1:] == pytest.approx([25] * 4, abs=0.2)  # the first may be from before the power was set


def test_a_server_says_which_ports_it_can_be_given(start: Start) -> None:
    with_help = start("02_remote_error/server.py", "--help").finish()
    assert "--rpc-port" in with_help
    assert "--broadcast-port" in with_help


def test_remote_error(start: Start) -> None:
    server = start("02_remote_error/server.py", *ANY_PORTS)
    output = start("02_remote_error/client.py", "--rpc-port", server.port()).finish()
    assert "caught a ValueError:" in output
    assert "5000 mW is outside 0 to 100.0 mW" in output
    assert re.search(r"laser\.set_power raised \S*InterlockOpenError", output)
    assert "('close the door, then reset the interlock', {'door': 'north'})" in output
    assert re.search(r'File ".*server\.py", line \d+, in set_power', output)
    assert re.search(r"not called: .*set_pwoer", output)
    assert "power set to 10.0 mW" in output


def test_application_stream(start: Start) -> None:
    server = start("03_application_stream/server.py", *ANY_PORTS)
    output = start("03_application_stream/client.py", "--rpc-port", server.port()).finish()
    sequence = numbers(r"#(\d+)", output)
    assert len(sequence) == 101
    assert sequence == list(range(int(sequence[0]), int(sequence[0]) + 101))
    (strongest,) = numbers(r"the strongest line is near ([\d.]+) nm", output)
    assert min(abs(strongest - line) for line in (546.1, 577.0)) < 1


def test_many_frequencies(start: Start) -> None:
    server = start("04_many_frequencies/server.py", *ANY_PORTS)
    output = start("04_many_frequencies/client.py", "--rpc-port", server.port(), "--seconds", "3").finish()
    rows = re.findall(r"^(\w+) +([\d.]+) Hz +([\d.]+) Hz +([\d.]+) Hz$", output, re.MULTILINE)
    received = {name: (float(asked), float(achieved), float(got)) for name, asked, achieved, got in rows}
    assert set(received) == {"temperature", "pressure", "vibration", "uptime"}
    for asked, _, got in received.values():
        assert got == pytest.approx(asked, rel=0.25, abs=1 / 3)  # one sample more or less in three seconds
    assert received["vibration"][1] == pytest.approx(200, rel=0.25)


def test_cache_and_queue(start: Start) -> None:
    server = start("05_cache_and_queue/server.py", *ANY_PORTS)
    output = start("05_cache_and_queue/client.py", "--rpc-port", server.port()).finish()
    ((logged, missing),) = re.findall(r"queue: (\d+) samples, (\d+) missing", output)
    ((shown, spanned),) = re.findall(r"cache: (\d+) samples out of (\d+)", output)
    assert int(missing) == 0
    assert int(logged) > 150
    assert int(shown) == 10
    assert int(spanned) > 150
    ages_ms = numbers(r"([\d.]+) ms old", output)
    assert min(ages_ms) < 15  # the newest of a stream at 100 Hz


def test_foreign_publisher(start: Start) -> None:
    station = start("06_foreign_publisher/weather_station.py", "--port", "0")
    server = start("06_foreign_publisher/server.py", *ANY_PORTS, "--station", station.address())
    output = start("06_foreign_publisher/client.py", "--rpc-port", server.port()).finish()
    temperatures = numbers(r"s: ([\d.]+) °C", output)
    assert temperatures == pytest.approx([21] * 5, abs=1)
    timestamps = numbers(r"^([\d.]+) s:", output) + numbers(r"\n([\d.]+) s:", output)
    assert timestamps == sorted(timestamps)


def test_cascade(start: Start) -> None:
    instrument = start("07_cascade/instrument.py", *ANY_PORTS)
    lab = start("07_cascade/lab.py", *ANY_PORTS, "--table-port", instrument.port())
    institute = start("07_cascade/institute.py", *ANY_PORTS, "--lab-port", lab.port())
    output = start("07_cascade/client.py", "--rpc-port", institute.port()).finish()
    assert numbers(r"the lab is at ([\d.]+) °C", output) == pytest.approx([21.5], abs=1)
    assert "power set to 30.0 mW" in output
    assert re.search(r"refused: .*500 mW is more than this diode survives", output)
    assert numbers(r"s: ([\d.]+) mW, sample \d+ of the instrument", output)[1:] == pytest.approx([30] * 4, abs=0.2)
    assert "power is 0.0 mW" in output


def test_typed_adapter(start: Start) -> None:
    pytest.importorskip("pydantic", reason='needs pydantic: pip install "one_liner[examples]"')
    output = start("08_typed_adapter/instrument.py").finish()
    assert "cooling water: 18.0 °C, 3.0 l/min" in output
    assert "asked for more: CoolingWater(temperature_c=18.0, flow_l_min=8.0)" in output
    assert "the field is 3.0 T" in output


def test_scpi_instrument(start: Start) -> None:
    pytest.importorskip("pyvisa", reason='needs pyvisa: pip install "one_liner[examples]"')
    pytest.importorskip("pyvisa_sim", reason='needs pyvisa-sim: pip install "one_liner[examples]"')
    server = start("09_scpi_instrument/server.py", *ANY_PORTS)
    output = start("09_scpi_instrument/client.py", "--rpc-port", server.port()).finish()
    assert "supply: Bench Works,PS-30,1204,1.7" in output
    assert "multimeter: Bench Works,DMM-6,0318,2.2" in output
    assert "set to 5.0 V, output on" in output
    assert re.search(r"refused: .*the supply refused ':SOUR:VOLT 400\.000' \(event status 32\)", output)
    assert output.count("s: 4.99812 V") == 5


def test_microscope(start: Start) -> None:
    pytest.importorskip("microscope", reason='needs microscope: pip install "one_liner[examples]"')
    server = start("10_microscope/server.py", *ANY_PORTS)
    output = start("10_microscope/client.py", "--rpc-port", server.port()).finish()
    assert "image: 512 x 512, uint8" in output
    way = numbers(r"stage at x = +([\d.-]+)", output)
    assert way == sorted(way)
    assert len([x for x in way if 0 < x < 800]) >= 3, "the position was not seen while the stage was moving"
    assert "arrived at {'x': 800.0, 'y': -400.0}" in output
    frames = numbers(r"frame (\d+) at", output)
    assert len(frames) == 10
    assert frames == list(range(int(frames[0]), int(frames[0]) + 10))


def test_live_plot(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib", reason='needs matplotlib: pip install "one_liner[examples]"')
    monkeypatch.setenv("MPLBACKEND", "agg")
    picture = tmp_path / "ringdown.png"
    server = start("11_live_plot/server.py", *ANY_PORTS)
    output = start(
        "11_live_plot/client.py", "--rpc-port", server.port(), "--seconds", "1.5", "--save", str(picture)
    ).finish()
    (samples,) = numbers(r"^(\d+) samples", output)
    assert samples > 30
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 5000


def test_json_peers(start: Start) -> None:
    server = start("13_json_peers/server.py", "--command-port", "0", "--broadcast-port", "0")
    ports = ["--command-port", server.port()]
    server.wait_for("events at ")
    ports += ["--broadcast-port", server.output.rpartition(":")[2].strip()]
    output = start("13_json_peers/client.py", *ports).finish()
    assert "status: {'celsius': 20.0, 'logPath': '/data/furnace_1/log.txt'}" in output
    assert "heating: goes on" in output
    assert numbers(r"event 2001 {'celsiusNow': ([\d.]+)}", output) == [40, 60, 80, 100]
    assert "heating ended: 100 {'reachedCelsius': 100.0}" in output
    assert "nobody knows 4711: nobody here carries out USER_DEFINED 4711" in output


def test_commands(start: Start) -> None:
    server = start("14_commands/server.py", *ANY_PORTS)
    output = start("14_commands/client.py", "--rpc-port", server.port()).finish()
    shares = numbers(r"running: (\d+) %", output)
    assert shares == sorted(shares)
    assert len(shares) >= 5
    assert "succeeded: 100 % at 10.0 mm" in output
    assert "best at 5.3 mm" in output or "best at 4.7 mm" in output
    assert "log: ['the signal is best at" in output
    assert "kept: emergency crash {'force_mn': 25.0}" in output
    assert re.search(r"job \S+ \(stage\.scan\) was cancelled: cancelled by ", output)
    assert re.findall(r"^[0-9a-f]{8}-\d+ stage\.scan (\w+)$", output, re.MULTILINE) == ["succeeded", "cancelled"]


def qt_runs_here() -> str:
    """Why Qt cannot run here, or nothing; asked in a process of its own, since Qt aborts rather than raises."""
    probe = "from PySide6.QtWidgets import QApplication; QApplication([])"
    ran = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    return "" if ran.returncode == 0 else ran.stderr.strip().splitlines()[-1]


@pytest.fixture
def offscreen(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("PySide6", reason='needs PySide6: pip install "one_liner[examples]"')
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    if problem := qt_runs_here():
        pytest.skip(f"Qt does not start on this machine (system libraries such as libegl1 missing?): {problem}")


@pytest.mark.usefixtures("offscreen")
def test_qt_window(start: Start, tmp_path: Path) -> None:
    picture = tmp_path / "oven.png"
    server = start("12_qt_window/server.py", *ANY_PORTS)
    output = start(
        "12_qt_window/window.py", "--rpc-port", server.port(), "--seconds", "2", "--screenshot", str(picture)
    ).finish()
    (shown,) = numbers(r"(\d+) temperatures shown", output)
    assert shown >= 5
    assert picture.read_bytes().startswith(b"\x89PNG")


PRESS_THE_BUTTON = """
import sys
sys.path.insert(0, sys.argv[1])
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication
from window import OvenWindow
from one_liner import RouterClient

application = QApplication([])
window = OvenWindow(RouterClient(rpc_port=sys.argv[2], broadcast_port=None, heartbeat_s=0.2))
window.show()
told = set()

def watch():
    for label in (window.connection, window.message):
        if label.text() and label.text() not in told:
            told.add(label.text())
            print(label.text(), flush=True)
            if label.text() == "connected":
                window.heater.click()
    state, style = window.connection.text(), window.connection.styleSheet()
    if "connected" in told and "red" not in told and state != "connected":
        assert "firebrick" in style
        window.samples = 0
        told.add("red")
        print("red", flush=True)
    if "red" in told and state == "connected" and window.samples:
        assert "seagreen" in style
        print("green again", flush=True)
        window.close()

timer = QTimer()
timer.timeout.connect(watch)
timer.start(20)
application.exec()
"""


@pytest.mark.usefixtures("offscreen")
def test_qt_window_calls_turns_red_and_finds_its_server_again(start: Start) -> None:
    server = start("12_qt_window/server.py", *ANY_PORTS)
    window = start("12_qt_window", str(EXAMPLES / "12_qt_window"), server.port(), code=PRESS_THE_BUTTON)
    window.wait_for("heater on")
    server.interrupt()
    window.wait_for("red")
    start("12_qt_window/server.py", "--rpc-port", server.port(), "--broadcast-port", "0")
    assert window.finish().endswith("green again\n")


def test_the_readme_lists_every_example_and_every_script_it_names_exists() -> None:
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    folders = {folder.name for folder in EXAMPLES.iterdir() if folder.is_dir()}
    rows = re.findall(r"^\| \[(\w+)\]\(\1\) \| .* \| (.*) \| .*\|$", readme, re.MULTILINE)
    assert {name for name, _ in rows} == {name for name in folders if name[0].isdigit()}
    for name, scripts in rows:
        for script in re.findall(r"`([\w.]+)`", scripts):
            assert (EXAMPLES / name / script).is_file()
