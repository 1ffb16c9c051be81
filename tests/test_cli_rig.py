"""Rig files: every mistake is found before anything is made, and named with its line."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from one_liner.cli.serve.build import build
from one_liner.cli.serve.rig import NamedCallTable, PeriodicStreamTable, RigFile
from one_liner.cli.serve.toml_lines import lines_of
from one_liner.client import RouterClient
from one_liner.config import NamedCallEntry, PeriodicStreamEntry
from one_liner.errors import ConfigurationError

ANY_PORTS = {"rpc_port": "0", "broadcast_port": "0"}


# --- lines -----------------------------------------------------------------------------------------------------------

TRICKY = '''\
# a comment with [a header] and = signs
top = 1  # and one behind
"quoted key" = "a # that is none, and \\" quotes"
dotted.key."with.dot" = 'C:\\path'

[ table . "sub.table" ]
text = """
[not.a.header]
key = "value" """
literal = \'\'\'
two quotes at the end: \'\'\'\'\'
when = 1979-05-27 07:32:00
inline = { a = 1, b = { c = [1, 2,
  3] }, d = {} }
list = [  # a comment
  "x",
  [ "y", ["z"] ],
  { key = 1 }, # another ] comment
]
last = []

[[many]]
name = "first"

[[many]]
name = "second"
[many.below]
deep = true
[[many.more]]
x = 1
[[many.more]]
x = 2
'''


def _paths(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The ways to everything that was parsed."""
    if path:
        yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _paths(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _paths(item, (*path, index))


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("top",), 2),
        (("quoted key",), 3),
        (("dotted", "key", "with.dot"), 4),
        (("table", "sub.table"), 6),
        (("table", "sub.table", "text"), 7),
        (("table", "sub.table", "literal"), 10),
        (("table", "sub.table", "when"), 12),
        (("table", "sub.table", "inline", "a"), 13),
        (("table", "sub.table", "inline", "b", "c", 1), 13),
        (("table", "sub.table", "inline", "b", "c", 2), 14),
        (("table", "sub.table", "inline", "d"), 14),
        (("table", "sub.table", "list", 0), 16),
        (("table", "sub.table", "list", 1, 1, 0), 17),
        (("table", "sub.table", "list", 2, "key"), 18),
        (("table", "sub.table", "last"), 20),
        (("many", 0, "name"), 23),
        (("many", 1), 25),
        (("many", 1, "below", "deep"), 28),
        (("many", 1, "more", 1, "x"), 32),
    ],
)
def test_where_it_stands(path: tuple[str | int, ...], line: int) -> None:
    assert lines_of(TRICKY)[path] == line


def test_everything_has_a_line() -> None:
    assert set(lines_of(TRICKY)) == set(_paths(tomllib.loads(TRICKY)))


def test_the_header_counts_and_not_a_table_below_it_that_came_first() -> None:
    assert lines_of("[a.b]\nx = 1\n[a]\ny = 2\n")[("a",)] == 3


KEYS = st.sampled_from(["a", "b-c", "1", '"q.r"', "'#'", '"]\\""', '"="'])
SCALARS = st.sampled_from(
    ["1", "-0.5e3", "true", '"#]}, \\" ="', "'a\"b'", '"""x\n"]y""""', "'''\n[t]'''", "1979-05-27T07:32:00Z", "inf"]
)
SPACES = st.sampled_from(["", " ", "\t "])
BREAKS = st.sampled_from(["", " ", "\n", "# ], }\n\n", "\r\n"])


@st.composite
def toml_values(draw: st.DrawFn, depth: int = 3) -> str:
    kind = draw(st.sampled_from(["scalar", "array", "table"])) if depth else "scalar"
    if kind == "scalar":
        return draw(SCALARS)
    items = draw(st.lists(toml_values(depth=depth - 1), max_size=3))
    if kind == "array":
        return "[" + "".join(f"{draw(BREAKS)}{item}{draw(BREAKS)}," for item in items) + draw(BREAKS) + "]"
    keys = draw(st.lists(KEYS, min_size=len(items), max_size=len(items), unique=True))
    pairs = [f"{draw(SPACES)}{key}{draw(SPACES)}={draw(SPACES)}{item}" for key, item in zip(keys, items, strict=True)]
    return "{" + ",".join(pairs) + draw(SPACES) + "}"


@given(st.lists(st.tuples(BREAKS, toml_values()), max_size=4))
def test_everything_in_any_valid_text_has_a_line_and_keys_the_right_one(parts: list[tuple[str, str]]) -> None:
    text, expected = "", {}
    for index, (blank, value) in enumerate(parts):
        text += blank if blank.endswith("\n") else ""
        expected[("k", str(index))] = text.count("\n") + 1
        text += f"k.{index} = {value}\n"
    lines = lines_of(text)
    assert set(lines) == set(_paths(tomllib.loads(text)))
    assert {path: lines[path] for path in expected} == expected


# --- mistakes that can be seen by reading ----------------------------------------------------------------------------

LASER = '[objects.laser]\ntype = "lab:Laser"\n'


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[server]\nrpc_prot = 1", ":2: server.rpc_prot: unknown key; did you mean rpc_port?"),
        ("[server]\nrpc_port = 70000", ":2: server.rpc_port: must be a number from 0 (a free one) to 65535"),
        ("[server]\nbroadcast_port = true", ":2: server.broadcast_port: must be a number"),
        ('[server]\nprotocol = "udp"', ':2: server.protocol: must be one of "tcp", "ipc", not "udp"'),
        ("[server]\nheartbeat_s = inf", ":2: server.heartbeat_s: must be a finite number, not inf"),
        ("[server]\nswitch_interval_s = 0", ":2: server.switch_interval_s: must be positive, not 0"),
        ("[server]\nallow_pickle = 1", ":2: server.allow_pickle: must be true or false, not 1"),
        ("[server]\nname = 5", ":2: server.name: must be text, not 5"),
        ("server = 1", ":1: server: must be a table, not 1"),
        ("[servr]", ":1: servr: unknown key; did you mean server?"),
        ("[[objects]]\na = 1", ":1: objects: must be a table"),
        ("[objects.laser]", ":1: objects.laser: needs one of type"),
        ('\n[objects.a]\ntype = "a:b"\nmodule = "a"', ":2: objects.a: needs one of type"),
        ('[objects.a]\nmodule = "math"\nkwargs = {}', ":3: objects.a.kwargs: goes with type alone"),
        ('[objects.a]\ntype = "lab.Laser"', ':2: objects.a.type: is written package.module:Name, not "lab.Laser"'),
        ('[objects.a]\nmodule = "a b"', ':2: objects.a.module: is written package.module, not "a b"'),
        ('[objects.a]\ntype = "a:b"\nargs = 1', ":3: objects.a.args: must be a list, not 1"),
        ('[objects.a]\ntype = "a:b"\nkwargs = [1]', ":3: objects.a.kwargs: must be a table, not [1]"),
        ('[objects.a]\ntype = "a:b"\nconcurrent = "x"', ":3: objects.a.concurrent: must be true, or a list"),
        ('objects._a = { module = "math" }', ":1: objects._a: a name has no underscore"),
        ('[objects]\n"a/b" = { module = "math" }', ':2: objects."a/b": a name has no underscore'),
        (LASER + '[named_calls.off]\nobj_name = "laser"', ":3: named_calls.off.attr_name: is missing"),
        (
            LASER + '[named_calls.off]\nattr_name = "x"\nobj_name = "lazer"',
            ':5: named_calls.off.obj_name: there is no object "lazer"; did you mean laser?',
        ),
        (
            LASER + '[named_calls]\noff = { attr_name = "_x", obj_name = "laser" }',
            ":4: named_calls.off.attr_name: what starts with an underscore is private",
        ),
        (
            LASER + '[named_calls.off]\nattr_name = "x"\nobj_name = "north/laser"',
            ":5: named_calls.off.obj_name: must be an object of this server",
        ),
        (
            LASER + '[periodic_streams.t]\nobj_name = "laser"\nattr_name = "t"\nfrequency_hz = -1',
            ":6: periodic_streams.t.frequency_hz: must be positive, not -1",
        ),
        (
            LASER + '[periodic_streams]\nt.obj_name = "laser"\nt.attr_name = "t"\nt.frequency_hz = "5"',
            ':6: periodic_streams.t.frequency_hz: must be a number, not "5"',
        ),
        (
            LASER + '[periodic_streams]\nt = {obj_name = "laser", attr_name = "t", frequency_hz = nan}',
            ":4: periodic_streams.t.frequency_hz: must be",
        ),
        (
            LASER + '[periodic_streams.t]\nobj_name = "laser"\nattr_name = "t"\nfrequency_hz = 1\nserializer = "xml"',
            ':7: periodic_streams.t.serializer: must be one of "msgpack", "json", "raw", "pickle", not "xml"',
        ),
        (
            LASER
            + '[periodic_streams.t]\nobj_name = "laser"\nattr_name = "t"\nfrequency_hz = 1\nserializer = "pickle"',
            ':7: periodic_streams.t.serializer: "pickle" needs allow_pickle = true',
        ),
        (
            LASER + '[routers.n]\n[periodic_streams."n/t"]\nobj_name = "laser"\nattr_name = "t"\nfrequency_hz = 1',
            ':4: periodic_streams."n/t": streams named n/… are those of the router n',
        ),
        ("[observed_properties.laser]\n", ":1: observed_properties.laser: is written [observed_properties."),
        ('[observed_properties."maser.t"]\n', ':1: observed_properties."maser.t": there is no object "maser"'),
        (
            LASER + '[observed_properties."laser.t"]\nfrequency_hz = 0',
            ':4: observed_properties."laser.t".frequency_hz: must be positive',
        ),
        ('[zmq_streams.w]\naddress = "localhost:1"', ":2: zmq_streams.w.address: is written tcp://host:port"),
        ("[zmq_streams.w]\ntopic = 'w'", ":1: zmq_streams.w.address: is missing"),
        ("[routers.n]\nrpc_port = -1", ":2: routers.n.rpc_port: must be a number"),
        ('[routers.n]\nhost = "a"', ":2: routers.n.host: unknown key; there are: protocol, interface"),
        ('[server]\nname = "a\n', ":2: this is not TOML: Illegal character"),
        ("[server]\nname =", ":2: this is not TOML"),
        ("[a]\n[a]", ":2: this is not TOML: Cannot declare"),
    ],
)
def test_a_mistake_and_its_line(tmp_path: Path, text: str, complaint: str) -> None:
    file = tmp_path / "rig.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        RigFile.read(file)
    assert str(caught.value).startswith(f"{file}{complaint}")
    assert "\n" not in str(caught.value)


def test_all_mistakes_at_once_in_the_order_of_their_lines(tmp_path: Path) -> None:
    file = tmp_path / "rig.toml"
    file.write_text("[zmq_streams.w]\naddress = 1\n[server]\nprotocol = 2\nrpc_port = 3.5\n")
    with pytest.raises(ConfigurationError) as caught:
        RigFile.read(file)
    assert [line.split(": ")[1] for line in str(caught.value).splitlines()] == [
        "zmq_streams.w.address",
        "server.protocol",
        "server.rpc_port",
    ]


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.toml: cannot be read: No such file"):
        RigFile.read(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b"a = 1\nb = '\xe4'\n")
    with pytest.raises(ConfigurationError, match=r"latin\.toml:2: this is not UTF-8"):
        RigFile.read(tmp_path / "latin.toml")


@pytest.mark.parametrize(
    ("table", "entry"), [(NamedCallTable, NamedCallEntry), (PeriodicStreamTable, PeriodicStreamEntry)]
)
def test_the_shape_is_that_of_a_config(table: Any, entry: Any) -> None:
    assert list(table.model_fields) == list(entry.field_names())


# --- mistakes that show when things are imported and made ------------------------------------------------------------


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the module `lab_of_rig`, which writes down what is made."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "lab_of_rig", raising=False)
    (tmp_path / "lab_of_rig.py").write_text(
        "made = []\n"
        "class Laser:\n"
        "    def __init__(self, port='COM1', *, limit=100.0):\n"
        "        if port == 'COM9':\n"
        "            raise OSError('no device\\nat COM9')\n"
        "        made.append(self)\n"
        "        self.port, self.limit, self.power = port, limit, 0.0\n"
        "    def set_power(self, power: float) -> float:\n"
        "        self.power = power\n"
        "        return power\n"
        "SPARE = Laser('COM2')\n"
    )
    (tmp_path / "broken_of_rig.py").write_text("x = = 1\n")
    (tmp_path / "lacking_of_rig.py").write_text("\nimport no_such_driver\n")
    return tmp_path


def _build(folder: Path, text: str) -> Any:
    (folder / "rig.toml").write_text(text)
    return build(RigFile.read(folder / "rig.toml"), ANY_PORTS)


MADE = '[objects.laser]\ntype = "lab_of_rig:Laser"\n'


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('[objects.a]\ntype = "nowhere_of_rig:A"', ":2: objects.a.type: there is no module 'nowhere_of_rig'"),
        ('[objects.a]\nmodule = "xml.nowhere"', ":2: objects.a.module: there is no module 'xml.nowhere'; xml has none"),
        ('[objects.a]\ntype = "lab_of_rig:Lasr"', ":2: objects.a.type: lab_of_rig has no 'Lasr'; did you mean Laser?"),
        ('[objects.a]\ntype = "math:pi"', ":2: objects.a.type: math:pi cannot be called"),
        ('[objects.a]\nmodule = "broken_of_rig"', ":2: objects.a.module: importing broken_of_rig raised SyntaxError"),
        ('[objects.a]\nimport = "lacking_of_rig:x"', "No module named 'no_such_driver'"),
        (MADE + 'args = ["COM9"]', ":2: objects.laser.type: making it raised OSError: no device at COM9 ("),
        (MADE + "args = [1, 2, 3]", ":2: objects.laser.type: making it raised TypeError: "),
        (MADE + 'concurrent = ["powr"]', "names 'powr', which it does not have"),
        (
            MADE + '[periodic_streams.t]\nobj_name = "laser"\nfrequency_hz = 1\nattr_name = "powr"',
            ":6: periodic_streams.t.attr_name: laser has no attribute 'powr'",
        ),
        (
            MADE + '[named_calls.off]\nobj_name = "laser"\nattr_name = "set_powr"',
            ":5: named_calls.off.attr_name: laser has no 'set_powr'; did you mean set_power?",
        ),
    ],
)
def test_what_cannot_be_imported_or_made(lab: Path, text: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        _build(lab, text)
    assert complaint in str(caught.value)
    assert str(caught.value).startswith(str(lab / "rig.toml"))
    assert "\n" not in str(caught.value)


def test_nothing_is_made_when_something_cannot_be_imported(lab: Path) -> None:
    with pytest.raises(ConfigurationError):
        _build(lab, MADE + '[objects.other]\nmodule = "nowhere_of_rig"')
    lab_of_rig = sys.modules["lab_of_rig"]
    assert lab_of_rig.made == [lab_of_rig.SPARE]


def test_everything_in_a_file_is_served(lab: Path) -> None:
    text = (
        MADE
        + """\
args = ["COM3"]
kwargs = { limit = 50.0 }
concurrent = ["power"]
[objects]
spare.import = "lab_of_rig:SPARE"
maths.module = "math"
root.import = "math:sqrt"
[named_calls.off]
obj_name = "laser"
attr_name = "set_power"
args = [0]
[periodic_streams.power]
obj_name = "laser"
attr_name = "power"
frequency_hz = 50
[periodic_streams.bytes]
obj_name = "laser"
attr_name = "power"
frequency_hz = 50
enabled = false
on_demand = true
serializer = "raw"
[zmq_streams.weather]
address = "tcp://127.0.0.1:6000"
topic = "w"
enabled = false
"""
    )
    with _build(lab, text) as server:
        server.run()
        with RouterClient(rpc_port=server.rpc_port, broadcast_port=None) as client:
            assert (client.get("laser", "port"), client.get("laser", "limit")) == ("COM3", 50.0)
            assert client.get("spare", "port") == "COM2"
            assert client.call("laser", "set_power", [5]) == 5
            assert client.call("maths", "floor", [2.5]) == 2
            assert client.call("root", None, [9]) == 3
            assert client.call_by_name("off") == 0
            assert client.get("laser", "power") == 0
            assert client.get_stream_configurations()["bytes"].encoding == "raw"
            assert not client.get_stream_configurations()["weather"].enabled
            assert next(client.stream("power", timeout_s=10)).data == 0
