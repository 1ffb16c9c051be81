"""Values through real sockets: the same in as out, by call and by stream, over every transport; large ones uncopied."""

from __future__ import annotations

import datetime as dt
import enum
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from one_liner import RouterClient, RouterServer, register_type
from one_liner.errors import NotCarriableError, SourceFailedError

np = pytest.importorskip("numpy")


class Mode(enum.Enum):
    FAST = "fast"
    SLOW = 2


class Flags(enum.IntFlag):
    A = 1
    B = 2


@dataclass
class Pose:
    x: float
    name: str = ""
    extra: dict[Any, Any] = field(default_factory=dict)


for registered in (Mode, Flags, Pose):
    register_type(registered)


class Echo:
    """Gives back what it gets, and tells what that was."""

    def __init__(self) -> None:
        self.held: Any = None

    def echo(self, value: Any) -> Any:
        return value

    def keep(self, value: Any) -> str:
        self.held = value
        return type(value).__name__

    def give(self) -> Any:
        return self.held


@pytest.fixture(scope="module", params=["tcp", "ipc", "inproc"])
def _address(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    where = {"tcp": "127.0.0.1", "ipc": str(tmp_path_factory.mktemp("ipc") / "s"), "inproc": "one_liner-test-values"}
    return request.param, where[request.param]


@pytest.fixture
def pair(_address: tuple[str, str]) -> Iterator[tuple[RouterServer, RouterClient, Echo]]:
    protocol, where = _address
    ports: tuple[Any, Any] = (0, 0) if protocol == "tcp" else (1, 2)
    echo = Echo()
    with RouterServer(protocol, where, *ports, instances={"echo": echo}) as server:
        server.run()
        with RouterClient(protocol, where, server.rpc_port, server.broadcast_port) as client:
            yield server, client, echo


UTC = dt.UTC
PLAIN: list[Any] = [
    None,
    True,
    0,
    -(2**63),
    2**64 - 1,
    2**70,
    1.5,
    float("inf"),
    1 + 2j,
    "",
    "ä\ud800",
    b"",
    b"\0\xff",
    bytearray(b"ab"),
    (),
    (1, (2, [3])),
    [1, (2,)],
    {1, 2},
    frozenset({"a"}),
    {7: "a", None: 2, (1, 2): 3, 2.5: 4, b"k": 5, True: 6},
    {Mode.FAST: Mode.SLOW},
    Flags.A | Flags.B,
    dt.datetime(2026, 1, 2, 3, 4, 5, 678901, UTC),
    dt.datetime(2026, 1, 2, 3, 4, 5),
    dt.date(2026, 1, 2),
    dt.time(1, 2, 3),
    dt.timedelta(days=-1, microseconds=1),
    range(1, 9, 2),
    slice(1, None, 2),
    Pose(1.5, "home", {1: (2, 3)}),
    [Pose(1.0), {"deep": {"deeper": (Pose(2.0), {3})}}],
]


def test_plain_values_by_call_and_by_stream(pair: tuple[RouterServer, RouterClient, Echo]) -> None:
    server, client, _ = pair
    client.configure_stream("x", wait=True)
    push = server.get_stream_fn("x")
    for value in PLAIN:
        push(value)
        for back in (client.call("echo", "echo", [value]), client.get_stream("x", timeout_s=5).data):
            assert back == value
            assert type(back) is type(value)
            if isinstance(value, dict):
                assert [type(key) for key in back] == [type(key) for key in value]


_STRUCTURED = np.array([(1, 2.5, "a")], dtype=[("i", "<i4"), ("f", ">f8"), ("s", "U3")])
_GRID = np.arange(24.0).reshape(4, 6)
_LARGE = np.arange(1_000_000, dtype=np.float64)
_READ_ONLY = np.arange(5)
_READ_ONLY.flags.writeable = False
ARRAYS: list[Any] = [
    *(np.zeros(3, dtype=code) for code in "?bBhHiIlLqQefdFDgG"),
    np.array(["a", "bc"]),
    np.array([b"a", b"bc"]),
    np.array(["2026-01-02"], dtype="M8[D]"),
    np.array([5], dtype="m8[ms]"),
    np.array(5.0),
    np.zeros((0, 3)),
    np.asfortranarray(_GRID),
    _GRID[::2, ::-1],
    _GRID.T,
    _STRUCTURED,
    np.arange(5, dtype=">i2"),
    _READ_ONLY,
    _LARGE,
    _LARGE.reshape(1000, 1000)[::2, ::2],
    np.asfortranarray(_LARGE.reshape(1000, 1000)),
    _LARGE.astype(">f8"),
]


def _same(back: Any, value: Any) -> None:
    assert type(back) is type(value)
    assert back.dtype == value.dtype
    assert back.shape == value.shape
    assert np.array_equal(back, value)


def test_arrays_by_call_and_by_stream(pair: tuple[RouterServer, RouterClient, Echo]) -> None:
    server, client, _ = pair
    client.configure_stream("x", wait=True)
    push = server.get_stream_fn("x")
    for value in ARRAYS:
        push({"a": [value]})
        _same(client.call("echo", "echo", [value]), value)
        _same(client.get_stream("x", timeout_s=5).data["a"][0], value)
    for scalar in (np.float32(1.5), np.int8(-3), np.bool_(True), np.complex64(1j), np.str_("s"), np.datetime64(5, "s")):
        back = client.call("echo", "echo", [scalar])
        assert (back, type(back)) == (scalar, type(scalar))


def test_many_large_parts_in_one_value(pair: tuple[RouterServer, RouterClient, Echo]) -> None:
    server, client, _ = pair
    parts = {number: np.full(100_000, number % 256, dtype=np.uint8) for number in range(300)}
    back = client.call("echo", "echo", [parts])
    assert list(back) == list(parts)
    assert all((back[number] == number % 256).all() for number in parts)
    mixed = [b"a" * 70_000, bytearray(b"b" * 70_000), ("c" * 70_000, b""), _LARGE[:10_000]]
    got = client.call("echo", "echo", [mixed])
    assert got[:3] == mixed[:3]
    client.configure_stream("x", wait=True)
    server.get_stream_fn("x")(parts)
    assert len(client.get_stream("x", timeout_s=5).data) == 300


def test_wide_and_deep(pair: tuple[RouterServer, RouterClient, Echo]) -> None:
    server, client, _ = pair
    wide = {number: str(number) for number in range(100_000)}
    assert client.call("echo", "echo", [wide]) == wide
    deep: Any = 1
    for _ in range(500):
        deep = [deep]
    circle: list[Any] = []
    circle.append(circle)
    for value, why in ((deep, "nested"), (circle, "contains itself")):
        with pytest.raises(NotCarriableError, match=why):
            client.call("echo", "echo", [value])
        with pytest.raises(NotCarriableError, match=why):
            server.get_stream_fn("x")(value)
    assert client.call("echo", "echo", [[[1]]]) == [[1]]


def test_what_cannot_be_carried_names_its_place(pair: tuple[RouterServer, RouterClient, Echo]) -> None:
    server, client, echo = pair
    echo.held = {"stage": [1, {"handle": object()}]}
    with pytest.raises(NotCarriableError, match=r'result\["stage"\]\[1\]\["handle"\].*object'):
        client.call("echo", "give")
    with pytest.raises(NotCarriableError, match=r"args\[0\]"):
        client.call("echo", "keep", [object()])
    client.configure_stream("x", wait=True)
    server.add_stream("x", 100, "echo", "give")
    with pytest.raises(SourceFailedError, match="handle"):
        client.get_stream("x", timeout_s=5)
    echo.held = np.array([object()])
    with pytest.raises(NotCarriableError, match="object"):
        client.call("echo", "give")
    echo.held = 5
    assert client.call("echo", "give") == 5


def test_large_arrays_are_views_of_their_frames(pair: tuple[RouterServer, RouterClient, Echo]) -> None:
    server, client, echo = pair
    frame = _LARGE.copy()
    client.call("echo", "keep", [frame])
    assert echo.held.base is not None  # the server's side reads from the frame
    assert client.call("echo", "give").base is not None
    client.configure_stream("x", wait=True)
    server.get_stream_fn("x")(frame)
    sample = client.get_stream("x", timeout_s=5)
    assert sample.data.base is not None
    if client._link.endpoint.protocol == "inproc":
        assert np.shares_memory(sample.data, frame)


def test_nothing_of_a_large_result_is_copied_by_us(pair: tuple[RouterServer, RouterClient, Echo]) -> None:
    """Python's allocator sees every copy that we would make; what ZeroMQ allocates it does not see."""
    _, client, echo = pair
    echo.held = {"frame": _LARGE, "more": [_LARGE.reshape(1000, 1000)]}
    client.call("echo", "give")
    tracemalloc.start()
    try:
        for value in ("give", "echo"):
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            back = client.call("echo", value, [echo.held] if value == "echo" else None)
            assert tracemalloc.get_traced_memory()[1] - before < _LARGE.nbytes / 4
            assert np.array_equal(back["frame"], _LARGE)
    finally:
        tracemalloc.stop()
