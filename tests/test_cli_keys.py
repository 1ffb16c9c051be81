"""Keys on the command line: made, shown, allowed; a secured server of a rig file, and who gets in there."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from one_liner import keys
from one_liner.cli import main
from one_liner.cli.serve.build import build
from one_liner.cli.serve.rig import RigFile, SecurityTable
from one_liner.client import RouterClient
from one_liner.config import SecurityEntry
from one_liner.credentials import CLIENTS_VARIABLE, KEYS_VARIABLE, SERVER_KEY_VARIABLE
from one_liner.errors import ConfigurationError
from tests.conftest import poll_until

DEADLINE_S = 20
VARIABLES = (
    "ONE_LINER_SERVER",
    KEYS_VARIABLE,
    SERVER_KEY_VARIABLE,
    CLIENTS_VARIABLE,
)
COMMAND = [sys.executable, "-m", "one_liner.cli"]
ENVIRONMENT = {**{k: v for k, v in os.environ.items() if k not in VARIABLES}, "PYTHONUTF8": "1"}
NOT_ON_WINDOWS = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no modes of files")

LAB = """\
import threading

class Laser:
    def __init__(self):
        self.power = 0.0
        self.go_on = threading.Event()

    def set_power(self, power: float) -> float:
        self.power = power
        return power

    def wait(self):
        self.go_on.wait(20)

    def end(self):
        self.go_on.set()

    def failing(self):
        raise RuntimeError("no light")
"""
RIG = """\
[security]
keys = "server.key"
clients = "clients.toml"
[objects.laser]
type = "lab_of_keys:Laser"
concurrent = ["wait", "end"]
[objects.root]
import = "math:sqrt"
[periodic_streams.broken]
obj_name = "laser"
attr_name = "failing"
frequency_hz = 50
[periodic_streams.power]
obj_name = "laser"
attr_name = "power"
frequency_hz = 50
"""


@pytest.fixture(autouse=True)
def _no_keys_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)


def _refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What a command says that is told something that cannot be: one line."""
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("one-liner: ")
    assert err.count("\n") == 1
    return err.removeprefix("one-liner: ").rstrip("\n")


# --- key files -------------------------------------------------------------------------------------------------------


def test_make_and_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "make", "anna", "--folder", str(tmp_path / "new")]) == 0
    pair = keys.read_pair(tmp_path / "new" / "anna.key")
    out = capsys.readouterr().out
    assert pair.public in out
    assert pair.secret not in out
    for suffix in (".key", ".pub"):
        assert main(["keys", "show", str(tmp_path / "new" / f"anna{suffix}")]) == 0
        assert capsys.readouterr().out == f"{pair.public}\n"


@NOT_ON_WINDOWS
def test_the_secret_file_is_its_owners_only(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        assert main(["keys", "make", "anna", "--folder", str(tmp_path)]) == 0
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "anna.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "anna.pub").stat().st_mode) == 0o644


def test_make_replaces_only_with_force(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["keys", "make", "anna", "--folder", str(tmp_path)]
    assert main(words) == 0
    first = keys.read_pair(tmp_path / "anna.key")
    capsys.readouterr()
    assert "exists already" in _refused(capsys, *words)
    assert keys.read_pair(tmp_path / "anna.key") == first
    assert main([*words, "--force"]) == 0
    assert keys.read_pair(tmp_path / "anna.key") != first


@pytest.mark.parametrize("name", ["", "a/b", "..", "x" * 300])
def test_make_refuses_what_is_no_name(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _refused(capsys, "keys", "make", name, "--folder", str(tmp_path))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [None, "", "hello", 'curve\n    public-key = "short"\n'])
def test_show_refuses_what_is_no_key_file(
    content: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "anna.pub"
    if content is not None:
        file.write_text(content)
    assert str(file) in _refused(capsys, "keys", "show", str(file))


def test_allow(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clients, anna = str(tmp_path / "clients.toml"), keys.KeyPair.new()
    public_file = keys.make("gui", tmp_path)[1]
    options = ["--role", "read", "--objects", "laser, stage", "--name", "Anna's GUI"]
    assert main(["keys", "allow", clients, anna.public, *options]) == 0
    assert "Anna's GUI has the role read for laser, stage" in capsys.readouterr().out
    assert main(["keys", "allow", clients, str(public_file)]) == 0
    capsys.readouterr()
    allowed = keys.read_clients(clients)
    assert list(allowed) == [anna.public, keys.read_public(public_file)]
    restricted, free = allowed.values()
    assert (restricted.role.word, restricted.name) == ("read", "Anna's GUI")
    assert restricted.objects == frozenset(("laser", "stage"))
    assert (free.role.word, free.objects, free.name) == ("control", None, "")
    assert "has this key already" in _refused(capsys, "keys", "allow", clients, anna.public)
    assert main(["keys", "allow", clients, anna.public, "--role", "admin", "--force"]) == 0
    assert keys.read_clients(clients)[anna.public].role.word == "admin"


def test_allow_a_key_that_begins_with_a_dash(tmp_path: Path) -> None:
    key = "-ne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"
    assert main(["keys", "allow", str(tmp_path / "clients.toml"), key, "--role", "read"]) == 0
    assert list(keys.read_clients(tmp_path / "clients.toml")) == [key]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["KEY", "--role", "owner"], "there is no role 'owner'; a role is read, control, admin"),
        (["KEY", "--objects", "a,,b"], "objects is a list of names"),
        (["anna.pbu"], "is neither a key"),
        (["--rolle"], "is neither a key"),
        (["x" * 300], "neither a key"),
    ],
)
def test_allow_refuses(words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    public = keys.KeyPair.new().public
    clients = tmp_path / "clients.toml"
    assert said in _refused(capsys, "keys", "allow", str(clients), *(public if w == "KEY" else w for w in words))
    assert not clients.exists()


# --- [security] of a rig file ----------------------------------------------------------------------------------------


def test_the_table_has_the_keys_of_a_configuration() -> None:
    assert set(SecurityTable.model_fields) == set(SecurityEntry.field_names())


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ('keys = "nobody.key"', 2, "security.keys: nobody.key does not exist"),
        ('keys = "server.pub"', 2, "holds a public key only"),
        ("keys = 5", 2, "security.keys: must be text, not 5"),
        ('key = "server.key"', 2, "security.key: unknown key; did you mean keys?"),
        ('keys = "server.key"\nclients = "wrong.toml"', 3, "client 1: there is no key"),
        ('keys = "server.key"\nclients = 5', 3, "security.clients: must be the path of a file, or a table of roles"),
        ('clients = { "server.pub" = "read" }', 2, "security.clients: needs keys = …, too"),
        (
            'keys = "server.key"\n[security.clients]\n"server.pub" = "owner"',
            4,
            'security.clients."server.pub": there is no role',
        ),
        ('keys = "server.key"\n[security.clients]\n"gui.pub" = "read"', 4, "'gui.pub' is neither a key"),
        ('[routers.north]\nserver_key = "north.pub"', 2, "routers.north: server_key, or ONE_LINER_SERVER_KEY, needs"),
    ],
)
def test_a_mistake_has_its_line(text: str, line: int, said: str, tmp_path: Path) -> None:
    keys.make("server", tmp_path)
    (tmp_path / "wrong.toml").write_text("[[client]]\nrole = 'read'\n")
    file = tmp_path / "rig.toml"
    file.write_text(f"[security]\n{text}\n")
    with pytest.raises(ConfigurationError) as caught:
        build(RigFile.read(file), {"rpc_port": "0", "broadcast_port": "0"})
    assert str(caught.value).startswith(f"{file}:{line}: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_both_mistakes_at_once(tmp_path: Path) -> None:
    file = tmp_path / "rig.toml"
    file.write_text('[security]\nkeys = "no.key"\nclients = "no.toml"\n')
    with pytest.raises(ConfigurationError) as caught:
        build(RigFile.read(file), {})
    assert str(caught.value).splitlines() == [
        f"{file}:2: security.keys: no.key does not exist",
        f"{file}:3: security.clients: no.toml does not exist",
    ]


def test_clients_may_stand_in_the_rig_file(tmp_path: Path) -> None:
    keys.make("server", tmp_path)
    keys.make("anna", tmp_path)
    eve = keys.KeyPair.new()
    file = tmp_path / "rig.toml"
    file.write_text(
        '[security]\nkeys = "server.key"\n[security.clients]\n"anna.pub" = "admin"\n'
        f'"{eve.public}" = {{ role = "read", objects = ["x"], name = "Eve" }}\n'
    )
    with build(RigFile.read(file), {"rpc_port": "0", "broadcast_port": "0"}) as server:
        assert server.public_key == keys.read_public(tmp_path / "server.pub")
        server.disallow(tmp_path / "anna.pub")
        server.disallow(eve.public)


# --- a secured server ------------------------------------------------------------------------------------------------


class Rig(NamedTuple):
    folder: Path
    address: str

    def run(self, who: str | None, *words: str, **environment: str) -> tuple[int, str, str]:
        """A command of somebody in a process of its own: exit code, standard output, standard error."""
        done = subprocess.run(
            [*COMMAND, *words, "--server", self.address, *self.key_options(who)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=DEADLINE_S,
            encoding="utf-8",
            env=ENVIRONMENT | environment,
            check=False,
        )
        assert "Traceback (most recent call last)" not in done.stderr
        return done.returncode, done.stdout, done.stderr

    def main(self, who: str | None, *words: str) -> int:
        """A command of somebody in this process."""
        return main([*words, "--server", self.address, *self.key_options(who)])

    def key_options(self, who: str | None) -> list[str]:
        """The options of a client with a key; none of one without."""
        if who is None:
            return []
        return ["--keys", str(self.folder / f"{who}.key"), "--server-key", str(self.folder / "server.pub")]


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A server with keys in a process of its own, and four keys: three that may come in and one that may not."""
    folder = tmp_path_factory.mktemp("secured")
    for name in ("server", "viewer", "anna", "boss", "eve"):
        keys.make(name, folder)
    keys.allow(folder / "clients.toml", folder / "viewer.pub", "read", name="the viewer")
    keys.allow(folder / "clients.toml", folder / "anna.pub", "control", ["laser"], "Anna's GUI")
    keys.allow(folder / "clients.toml", folder / "boss.pub", "admin")
    (folder / "lab_of_keys.py").write_text(LAB)
    (folder / "rig.toml").write_text(RIG)
    process = subprocess.Popen(
        [*COMMAND, "serve", str(folder / "rig.toml"), "--rpc-port", "0", "--broadcast-port", "0"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        env=ENVIRONMENT,
    )
    with process:
        try:
            assert process.stdout is not None
            words = process.stdout.readline()
            assert words.startswith("serving at tcp://"), words + process.stdout.read()
            assert process.stdout.readline().startswith("streams at ")
            assert process.stdout.readline() == f"public key {keys.read_public(folder / 'server.pub')}\n"
            yield Rig(folder, words.split()[-1])
        finally:
            process.send_signal(signal.SIGTERM)
            code = process.wait(DEADLINE_S)
    assert code == 0 or sys.platform == "win32"


def test_a_call_with_keys(rig: Rig) -> None:
    assert rig.run("anna", "call", "laser", "set_power", "5") == (0, "5\n", "")


def test_keys_from_the_environment(rig: Rig) -> None:
    environment = {
        KEYS_VARIABLE: str(rig.folder / "viewer.key"),
        SERVER_KEY_VARIABLE: keys.read_public(rig.folder / "server.pub"),
    }
    code, out, err = rig.run(None, "ls", "laser", **environment)
    assert (code, err) == (0, "")
    assert "set_power" in out


@pytest.mark.parametrize(("who", "said"), [("eve", "is not among those that"), (None, "with keys only")])
def test_who_is_not_allowed_stays_outside(rig: Rig, who: str | None, said: str) -> None:
    code, out, err = rig.run(who, "call", "laser", "set_power", "99")
    assert (code, out) == (3, "")
    assert err.startswith("one-liner: refused: ")
    assert said in err
    assert err.count("\n") == 1


def test_keys_that_are_incomplete(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    key = str(rig.folder / "anna.key")
    assert "need the public key of the server" in _refused(capsys, "ls", "--server", rig.address, "--keys", key)
    assert "needs keys of our own" in _refused(capsys, "ls", "-s", rig.address, "--server-key", key)


@pytest.mark.parametrize(
    ("who", "words", "said"),
    [
        ("viewer", ["call", "laser", "set_power", "7"], "needs the role control, and 'the viewer' has the role read"),
        ("viewer", ["set", "laser", "power", "7"], "needs the role control"),
        ("viewer", ["disable", "power"], "needs the role control"),
        ("anna", ["call", "root", "4"], "\"Anna's GUI\" may not reach 'root'; the key is restricted to laser"),
    ],
)
def test_roles(rig: Rig, who: str, words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert rig.main(who, *words) == 3
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("one-liner: refused: ")
    assert said in err


def test_every_role_may_look(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    for who in ("viewer", "anna", "boss"):
        assert rig.main(who, "get", "laser", "power") == 0
        assert rig.main(who, "watch", "power", "--count", "1", "--seconds", "10") == 0
    assert rig.main("boss", "call", "root", "4") == 0
    assert capsys.readouterr().out.endswith("\n2.0\n")


def test_the_demo_is_open_whatever_keys_there_are(rig: Rig) -> None:
    environment = ENVIRONMENT | {KEYS_VARIABLE: str(rig.folder / "anna.key")}
    command = [*COMMAND, "demo", "--seconds", "3"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=DEADLINE_S, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr


# --- how the server is doing -----------------------------------------------------------------------------------------


def _client(rig: Rig, name: str) -> RouterClient:
    port = rig.address.rpartition(":")[2]
    boss, server = rig.folder / "boss.key", rig.folder / "server.pub"
    return RouterClient(rpc_port=port, broadcast_port=None, name=name, keys=boss, server_key=server)


def test_ledger(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    def counters() -> dict[str, dict[str, object]]:
        assert rig.main("viewer", "ledger", "--json") == 0
        found: dict[str, dict[str, object]] = json.loads(capsys.readouterr().out)
        return found

    poll_until(lambda: bool(counters()["broken"]["failed"]), 10)
    found = counters()
    assert set(found) == {"broken", "power"}
    assert list(found["power"]) == [
        *("produced", "published", "failed", "skipped_late", "skipped_busy", "overruns", "last_holder")
    ]
    assert found["power"]["failed"] == 0
    assert rig.main("viewer", "ledger", "broken") == 0
    header, row = capsys.readouterr().out.splitlines()
    assert header.split()[:4] == ["stream", "produced", "published", "failed"]
    assert row.split()[0] == "broken"
    assert rig.main("viewer", "ledger", "brokn") == 1
    assert capsys.readouterr().err == "one-liner: no stream 'brokn'; did you mean 'broken'?\n"


def test_running(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    assert rig.main("viewer", "running") == 0
    capsys.readouterr()
    command = [*COMMAND, "call", "laser", "wait", "--server", rig.address, *rig.key_options("boss")]
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL) as waiting:

        def calls() -> list[dict[str, object]]:
            assert rig.main("viewer", "running", "--json") == 0
            return [one for one in json.loads(capsys.readouterr().out) if one["where"] == "laser.wait"]

        try:
            poll_until(lambda: bool(calls()), 10)
            assert set(calls()[0]) == {"where", "who", "for_s"}
            assert rig.main("viewer", "running") == 0
            assert "laser.wait" in capsys.readouterr().out
        finally:
            assert rig.main("boss", "call", "laser", "end") == 0
            assert waiting.wait(DEADLINE_S) == 0


def test_leases(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    assert rig.main("viewer", "leases") == 0
    assert capsys.readouterr().out == "nobody has exclusive control of anything\n"
    with _client(rig, "the boss") as client, client.lease("laser"):
        assert rig.main("viewer", "leases", "--json") == 0
        (held,) = json.loads(capsys.readouterr().out)
        assert (held["object"], held["who"]) == ("laser", "the boss")
        assert rig.main("viewer", "leases") == 0
        header, row = capsys.readouterr().out.splitlines()
        assert header.split() == ["object", "who", "for"]
        assert row.startswith("laser")
        assert "the boss" in row
        assert rig.main("anna", "call", "laser", "set_power", "1") == 1
        assert "the boss has had exclusive control of 'laser'" in capsys.readouterr().err
    assert rig.main("viewer", "leases", "--json") == 0
    assert json.loads(capsys.readouterr().out) == []
