"""`deploy/`: the supervisor configuration with a real supervisord, whose children are killed in turn."""

from __future__ import annotations

import http.client
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import poll_until

DEPLOY = Path(__file__).parent.parent / "deploy"
BACK_S = 50.0
RIG = """
[server]
rpc_port = {rpc_port}
broadcast_port = 0

[objects.laser]
import = "lab:Laser"
"""
LAB = """
class Laser:
    wavelength_nm = 532.0
"""

if sys.platform == "win32":
    pytest.skip("supervisord does not run on Windows", allow_module_level=True)
for _name in ("supervisor", "fastapi"):
    if importlib.util.find_spec(_name) is None:
        pytest.skip(f"{_name} is not installed", allow_module_level=True)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


class Supervised:
    """supervisord, with the configuration as it is."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        rpc_port = free_port()
        (folder / "lab.py").write_text(LAB)
        (folder / "rig.toml").write_text(RIG.format(rpc_port=rpc_port))
        command = folder / "one-liner"
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m one_liner.cli "$@"\n')
        command.chmod(0o755)
        self._environment = {
            **os.environ,
            "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join([*sys.path, str(folder)]),
            "ONE_LINER_RIG": str(folder / "rig.toml"),
            "ONE_LINER_ADDRESS": f"127.0.0.1:{rpc_port}",
            "ONE_LINER_STATE": str(folder),
            "ONE_LINER_GATEWAY_PORT": str(self.port),
        }
        self.log = folder / "supervisord.log"
        self._arguments = ["-c", str(DEPLOY / "supervisord.conf")]
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "supervisor.supervisord", *self._arguments],
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def control(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "supervisor.supervisorctl", *self._arguments, *words],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=30,
        )
        return done.stdout

    def pid(self, program: str) -> int:
        text = self.control("pid", program).strip()
        return int(text) if text.isdigit() else 0

    def runs_anew(self, program: str, after: int) -> bool:
        return self.pid(program) not in (0, after)

    def ask(self, path: str) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        except (OSError, http.client.HTTPException):
            return 0, None
        finally:
            connection.close()

    def works(self) -> bool:
        return self.ask("/instrument/laser/wavelength_nm") == (200, {"message": "wavelength_nm", "value": 532.0})

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Supervised]:
    supervised = Supervised(tmp_path)
    yield supervised
    supervised.close()


@pytest.mark.timeout(300)
def test_whatever_is_killed_is_back_by_itself(supervised: Supervised) -> None:
    poll_until(supervised.works, BACK_S, "both to be there")
    for program in ("instruments", "gateway", "instruments"):
        pid = supervised.pid(program)
        assert pid
        os.kill(pid, signal.SIGKILL)
        poll_until(partial(supervised.runs_anew, program, pid), BACK_S, f"another {program}")
        poll_until(supervised.works, BACK_S, f"all to be back after {program} was killed")


def test_units_and_the_image_run_commands_that_exist() -> None:
    """What stands behind `one-liner` in `deploy/` are commands and options that there are."""
    for name in ("one-liner-gateway.service", "one-liner-server.service"):
        lines = (DEPLOY / name).read_text().splitlines()
        (command,) = [line.partition("=")[2].split() for line in lines if line.startswith("ExecStart=")]
        _check_options(command[1], command[2:])
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    for key in ("ENTRYPOINT ", "    CMD "):
        (line,) = [line for line in dockerfile.splitlines() if line.startswith(key)]
        words = json.loads(line[len(key) :])
        _check_options(words[1], words[2:])


def _check_options(command: str, words: list[str]) -> None:
    known = subprocess.run(
        [sys.executable, "-m", "one_liner.cli", *([command, words[0]] if command == "web" else [command]), "--help"],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "300", "TERM": "dumb", "NO_COLOR": "1"},
        check=True,
    ).stdout
    for word in words:
        assert not word.startswith("--") or word in known, f"{command} has no option {word}"
