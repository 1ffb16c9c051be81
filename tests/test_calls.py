"""Serving and calling, from a client to a served object and back, over every protocol."""

from __future__ import annotations

import math
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any, Protocol

import pytest

from one_liner import RouterClient, RouterServer
from one_liner.errors import (
    BadArgumentsError,
    ConfigurationError,
    NotCarriableError,
    NotExposedError,
    OneLinerError,
    UnknownAttributeError,
    UnknownObjectError,
)

HEARTBEAT_S = 0.2


class Stage:
    """Moves."""

    def __init__(self) -> None:
        self.position = 0.0
        self._secret = "hidden"

    def move(self, x: float, *, relative: bool = False) -> float:
        """Go somewhere."""
        self.position = self.position + x if relative else x
        return self.position

    def _home(self) -> None:
        self.position = 0.0


class Laser:
    """Shines."""

    wavelength_nm = 532

    def __init__(self) -> None:
        self.stage = Stage()
        self._power = 1.0
        self.calls: list[tuple[Any, ...]] = []
        self.label = "green"

    @property
    def power(self) -> float:
        """In watts."""
        return self._power

    @power.setter
    def power(self, watts: float) -> None:
        if watts < 0:
            raise ValueError("a laser gives, it does not take")
        self._power = watts

    @property
    def serial(self) -> str:
        """Cannot be set."""
        return "L-1"

    def record(self, *args: Any, **kwargs: Any) -> list[Any]:
        """Give back what came."""
        self.calls.append(args)
        return [args, kwargs]

    @staticmethod
    def twice(x: int) -> int:
        """A static method."""
        return 2 * x

    @classmethod
    def kind(cls) -> str:
        """A class method."""
        return cls.__name__

    def __call__(self, x: int = 1) -> str:
        """Objects may be called themselves."""
        return f"called with {x}"


def add(a: int, b: int = 10) -> int:
    """A plain function."""
    return a + b


async def later(x: int) -> int:
    """A coroutine function."""
    return x + 1


@pytest.fixture(params=["tcp", "ipc", "inproc"])
def place(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """Where a server can be made, on each protocol in turn."""
    folder = tempfile.mkdtemp(prefix="ol")
    interface = {"tcp": "127.0.0.1", "ipc": f"{folder}/rig", "inproc": f"rig-{folder}"}[request.param]
    yield {"protocol": request.param, "interface": interface}
    shutil.rmtree(folder)


@pytest.fixture
def connect() -> Iterator[Callable[..., RouterClient]]:
    """Makes clients of a server, and closes them."""
    clients: list[RouterClient] = []

    def make(server: RouterServer, place: dict[str, Any], **options: Any) -> RouterClient:
        options = {"heartbeat_s": HEARTBEAT_S, **options}
        clients.append(RouterClient(**place, rpc_port=server.rpc_port, broadcast_port=None, **options))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def laser() -> Laser:
    return Laser()


@pytest.fixture
def server(place: dict[str, Any], laser: Laser) -> Iterator[RouterServer]:
    with RouterServer(
        **place,
        rpc_port=0,
        broadcast_port=0,
        instances={"laser": laser, "maths": math, "add": add, "later": later, "lambda": lambda: 5},
        heartbeat_s=HEARTBEAT_S,
    ) as made:
        made.run()
        yield made


@pytest.fixture
def client(server: RouterServer, place: dict[str, Any], connect: Callable[..., RouterClient]) -> RouterClient:
    return connect(server, place)


# --- calling ---------------------------------------------------------------------------------------------------------


def test_methods_are_called_with_arguments_by_index_and_by_name(client: RouterClient) -> None:
    assert client.call("laser", "record", [1, "two"], {"three": 3}) == [(1, "two"), {"three": 3}]
    assert client.call("laser", "record", (1,)) == [(1,), {}]
    assert client.call("laser", "twice", [21]) == 42
    assert client.call("laser", "kind") == "Laser"


def test_what_is_served_may_be_a_module_a_function_or_a_callable_object(client: RouterClient) -> None:
    assert client.call("maths", "sqrt", [9]) == 3.0
    assert client.get("maths", "pi") == math.pi
    assert client.call("add", args=[1]) == 11
    assert client.call("add", "__call__", [1], {"b": 2}) == 3
    assert client.call("laser", args=[3]) == "called with 3"
    assert client.call("lambda") == 5
    assert client.call("later", args=[1]) == 2


def test_properties_and_attributes_are_read_and_written(client: RouterClient, laser: Laser) -> None:
    assert client.get("laser", "power") == 1.0
    client.set("laser", "power", 5.5)
    assert laser.power == client.call("laser", "power") == 5.5
    client.set("laser", "label", "red")
    assert laser.label == client.get("laser", "label") == "red"
    assert client.get("laser", "wavelength_nm") == 532


def test_what_cannot_be_set_says_so(client: RouterClient, laser: Laser) -> None:
    with pytest.raises(UnknownAttributeError, match="read-only"):
        client.set("laser", "serial", "L-2")
    with pytest.raises(NotExposedError, match="method"):
        client.set("laser", "record", 1)
    with pytest.raises(NotExposedError, match="cannot be replaced"):
        client.set("laser", "stage", 1)
    with pytest.raises(UnknownAttributeError, match="powr"):
        client.set("laser", "powr", 1)
    with pytest.raises(ValueError, match="does not take"):
        client.set("laser", "power", -1)
    assert not hasattr(laser, "powr")


def test_a_property_takes_no_arguments(client: RouterClient) -> None:
    with pytest.raises(BadArgumentsError, match="property"):
        client.call("laser", "power", [3])


def test_nested_objects_are_reached_by_a_dotted_path(client: RouterClient, laser: Laser) -> None:
    assert client.call("laser.stage", "move", [2.0]) == 2.0
    assert client.call("laser.stage", "move", [0.5], {"relative": True}) == 2.5
    assert client.get("laser.stage", "position") == 2.5
    client.set("laser.stage", "position", -1.0)
    assert laser.stage.position == -1.0
    laser.stage = Stage()
    assert client.get("laser.stage", "position") == 0.0, "the path is walked anew when what it leads through changes"


def test_a_proxy_is_the_object(client: RouterClient, laser: Laser) -> None:
    proxy = client.proxy("laser")
    assert proxy.record(1, two=2) == [(1,), {"two": 2}]
    proxy.power = 3.5
    assert proxy.power == laser.power == 3.5
    assert proxy.stage.move(4.0) == 4.0
    assert proxy(7) == "called with 7"
    assert {"power", "record", "stage", "label"} <= set(dir(proxy))
    assert "_secret" not in dir(proxy.stage)
    with pytest.raises(AttributeError, match="recrd"):
        proxy.recrd()


def test_a_proxy_may_be_given_a_type(client: RouterClient) -> None:
    class HasPower(Protocol):
        power: float

    proxy = client.proxy("laser", HasPower)
    assert proxy.power == 1.0


def test_a_timestamp_is_when_the_function_returned(client: RouterClient) -> None:
    before = time.perf_counter()
    timestamp, value = client.call("add", args=[1], get_timestamp=True)
    assert value == 11
    assert before <= timestamp <= time.perf_counter()
    client_timestamp, _ = client.call("laser", "power", None, None, True)
    assert timestamp <= client_timestamp <= time.perf_counter()


# --- named calls -----------------------------------------------------------------------------------------------------


def test_named_calls_take_overwritten_arguments(server: RouterServer, client: RouterClient) -> None:
    server.add_named_call("rec", "laser", "record", [1, 2], {"a": 1, "b": 2})
    assert client.call_by_name("rec") == [(1, 2), {"a": 1, "b": 2}]
    assert client.call_by_name("rec", args=[10]) == [(10, 2), {"a": 1, "b": 2}]
    assert client.call_by_name("rec", args=[10, 20, 30], kwargs={"b": 3, "c": 4}) == [
        (10, 20, 30),
        {"a": 1, "b": 3, "c": 4},
    ]
    assert client.call_by_name("rec") == [(1, 2), {"a": 1, "b": 2}], "what was written down is not changed by a call"
    timestamp, value = client.call_by_name("rec", get_timestamp=True)
    assert timestamp <= time.perf_counter()
    assert value[0] == (1, 2)


def test_named_calls_are_replaced_and_removed(server: RouterServer, client: RouterClient) -> None:
    server.add_named_call("one", "add", "__call__", [1])
    assert client.call_by_name("one") == 11
    server.add_named_call("one", "laser", "power")
    assert client.call_by_name("one") == 1.0
    server.remove_named_call("one")
    with pytest.raises(UnknownObjectError, match="one"):
        client.call_by_name("one")
    with pytest.raises(KeyError):
        server.remove_named_call("one")


def test_a_named_call_opens_no_private_door(server: RouterServer, client: RouterClient) -> None:
    server.add_named_call("home", "laser.stage", "_home")
    with pytest.raises(NotExposedError):
        client.call_by_name("home")


# --- what may not be reached -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("laser.stage", "_home"),
        ("laser.stage", "_secret"),
        ("laser", "_power"),
        ("laser", "__class__"),
        ("laser", "__init__"),
        ("laser", "__dict__"),
        ("laser.__class__", "mro"),
        ("laser._power", "real"),
        ("laser.record.__func__", "__globals__"),
        ("laser.record", "__self__"),
        ("laser", "record.__func__"),
        ("add", "__globals__"),
        ("add", "__code__"),
        ("later.__code__", "co_code"),
        ("maths", "__loader__"),
        ("laser.label", "format"),
        ("laser.calls", "append"),
        ("_private", "x"),
        ("", "x"),
        ("laser.", "power"),
        (".laser", "power"),
        ("laser..stage", "move"),
        ("server", "close"),
        ("self", "close"),
        ("one_liner", "x"),
    ],
)
def test_private_names_and_machinery_are_out_of_reach(server: RouterServer, path: str, name: str) -> None:
    # What is asked of the exposure does not depend on the protocol; the way there is tested below.
    with pytest.raises(NotExposedError):
        server._rpc._exposure.resolve(path, name)


@pytest.mark.parametrize(("path", "name"), [("laser.stage", "_home"), ("laser", "__class__"), ("server", "close")])
def test_a_client_is_told_that_a_name_cannot_be_reached(client: RouterClient, path: str, name: str) -> None:
    for ask in (
        lambda: client.call(path, name),
        lambda: client.get(path, name),
        lambda: client.set(path, name, 1),
    ):
        with pytest.raises(NotExposedError):
            ask()
    assert client.call("add", args=[1]) == 11


def test_nothing_of_the_server_is_reachable(server: RouterServer, client: RouterClient) -> None:
    holder = SimpleNamespace(server=server, client=client, ok=1)
    server.add_instance("holder", holder)
    for path in ("holder.server", "holder.client", "holder.server._rpc"):
        for name in ("close", "rpc_port", "instances", "version"):
            with pytest.raises(NotExposedError):
                client.call(path, name)
    with pytest.raises(OneLinerError):
        client.get("holder", "server")
    assert client.get("holder", "ok") == 1
    text = str(client.describe_object("holder"))
    assert "rpc_port" not in text


def test_names_that_cannot_be_are_refused_at_once(server: RouterServer, place: dict[str, Any]) -> None:
    for name in ("", "_x", "a.b", "a/b", "a\nb", 5):
        with pytest.raises(ConfigurationError):
            server.add_instance(name, Laser())  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError):
            RouterServer(**place, rpc_port=0, broadcast_port=0, instances={name: Laser()})  # type: ignore[dict-item]


# --- adding and removing ---------------------------------------------------------------------------------------------


def test_objects_come_and_go_while_the_server_runs(server: RouterServer, client: RouterClient) -> None:
    with pytest.raises(UnknownObjectError, match="guest"):
        client.call("guest", "power")
    server.add_instance("guest", Laser())
    assert client.call("guest", "power") == 1.0
    assert "guest" in [one.name for one in client.describe().objects]
    with pytest.raises(ConfigurationError, match="taken"):
        server.add_instance("guest", Laser())
    server.remove_instance("guest")
    with pytest.raises(KeyError, match="guest"):
        client.call("guest", "power")
    with pytest.raises(UnknownObjectError):
        server.remove_instance("guest")
    server.add_instance("guest", SimpleNamespace(power=2.0))
    assert client.call("guest", "power") == 2.0


def test_an_object_that_is_removed_during_a_call_finishes_it(server: RouterServer, client: RouterClient) -> None:
    began, go = threading.Event(), threading.Event()

    def wait() -> str:
        began.set()
        assert go.wait(20)
        return "done"

    server.add_instance("wait", wait)
    results: list[Any] = []
    caller = threading.Thread(target=lambda: results.append(client.call("wait")))
    caller.start()
    try:
        assert began.wait(10)
        server.remove_instance("wait")
        with pytest.raises(UnknownObjectError):
            client.call("wait")
    finally:
        go.set()
        caller.join(10)
    assert results == ["done"]


def test_the_callers_dict_is_neither_changed_nor_watched(place: dict[str, Any]) -> None:
    mine = {"laser": Laser(), "add": add}
    before = dict(mine)
    with RouterServer(**place, rpc_port=0, broadcast_port=0, instances=mine) as server:
        server.add_instance("more", math)
        server.remove_instance("add")
        assert mine == before
        mine["late"] = add
        assert set(server.instances) == {"laser", "more"}
        server.instances["injected"] = add
        assert "injected" not in server.instances


# --- descriptions ----------------------------------------------------------------------------------------------------


def test_everything_that_is_served_is_described_as_data_and_for_people(
    server: RouterServer, client: RouterClient
) -> None:
    server.add_named_call("full", "laser", "record", [1])
    server.add_stream("power", 10, "laser", "power", enabled=False)
    description = client.describe()
    data = description.as_dict()
    by_name = {one["name"]: one for one in data["objects"]}
    assert set(by_name) == {"laser", "maths", "add", "later", "lambda"}
    text = str(description)
    for word in ("laser", "record", "power", "In watts", "wavelength_nm", "stage", "move", "relative", "full", "add"):
        assert word in text or word in str(data), word
    assert "_secret" not in text
    assert "_home" not in text
    assert "_power" not in str(data)
    assert "full" in str(data["named_calls"])
    assert "power" in data["streams"]
    one = client.describe_object("laser.stage")
    assert "move" in str(one)
    assert one.as_dict()["name"]
    assert server.describe().as_dict()["objects"] == data["objects"]


def test_describing_runs_no_property(server: RouterServer, client: RouterClient) -> None:
    touched = threading.Event()

    class Shy:
        @property
        def reading(self) -> int:
            touched.set()
            return 1

    server.add_instance("shy", Shy())
    client.describe()
    client.describe_object("shy")
    dir(client.proxy("shy"))
    assert not touched.is_set()
    assert client.get("shy", "reading") == 1


# --- many at once ----------------------------------------------------------------------------------------------------


def _ask_many(client: RouterClient, who: int, rounds: int, wrong: list[Any]) -> None:
    for index in range(rounds):
        mark = f"{who}-{index}"
        try:
            answer = client.call("laser", "record", [mark], {"n": index})
        except Exception as error:
            answer = error
        if answer != [(mark,), {"n": index}]:
            wrong.append((mark, answer))


def test_eight_threads_share_one_client(client: RouterClient) -> None:
    wrong: list[Any] = []
    threads = [threading.Thread(target=_ask_many, args=(client, who, 100, wrong)) for who in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not wrong


def test_eight_clients_are_answered_each_with_its_own(
    server: RouterServer, place: dict[str, Any], connect: Callable[..., RouterClient]
) -> None:
    wrong: list[Any] = []
    clients = [connect(server, place) for _ in range(8)]
    threads = [threading.Thread(target=_ask_many, args=(client, who, 100, wrong)) for who, client in enumerate(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not wrong


def test_large_values_travel_both_ways(client: RouterClient) -> None:
    large = {"image": bytes(range(256)) * 4096, "rows": [b"x" * 100_000] * 3, "text": "ä" * 100_000}
    assert client.call("laser", "record", [large]) == [(large,), {}]


# --- arguments that cannot be ----------------------------------------------------------------------------------------


def test_arguments_that_cannot_travel_never_leave(client: RouterClient, laser: Laser) -> None:
    with pytest.raises(NotCarriableError) as caught:
        client.call("laser", "record", [1, {"port": threading.Lock()}])
    assert caught.value.path == 'args[1]["port"]'
    with pytest.raises(NotCarriableError) as caught:
        client.call("laser", "record", [], {"x": [object()]})
    assert caught.value.path == 'kwargs["x"][0]'
    with pytest.raises(NotCarriableError) as caught:
        client.set("laser", "label", object())
    assert caught.value.path == "value"
    assert laser.calls == []


@pytest.mark.parametrize(
    "ask",
    [
        lambda client: client.call(5, "x"),
        lambda client: client.call("laser", "record", "text"),
        lambda client: client.call("laser", "record", 5),
        lambda client: client.call("laser", "record", [], [1]),
        lambda client: client.call("laser", "record", [], {1: 2}),
        lambda client: client.call("laser", "record", timeout_s=-1),
        lambda client: client.call("laser", "record", timeout_s=float("nan")),
        lambda client: client.get("laser", None),
    ],
)
def test_a_call_that_cannot_be_is_refused_here(client: RouterClient, laser: Laser, ask: Callable[..., Any]) -> None:
    with pytest.raises((ConfigurationError, BadArgumentsError)):
        ask(client)
    assert laser.calls == []


def test_a_module_of_its_own_is_served_as_what_it_shows(server: RouterServer, client: RouterClient) -> None:
    module = ModuleType("driver")
    exec("import os, sys\nlimit = 5\ndef read(): return limit\ndef _hidden(): return 1\n", module.__dict__)  # noqa: S102  # a module without a file
    server.add_instance("driver", module)
    assert client.call("driver", "read") == 5
    client.set("driver", "limit", 6)
    assert client.call("driver", "read") == 6
    for name in ("_hidden", "__builtins__"):
        with pytest.raises(NotExposedError):
            client.call("driver", name)
    with pytest.raises(NotExposedError):
        client.call("driver.os", "getcwd")
    with pytest.raises(NotExposedError):
        client.call("driver.sys", "exit")


def test_what_only_the_objects_own_code_finds_is_a_window_too(server: RouterServer, client: RouterClient) -> None:
    class Axis:
        position = 1.5

        def home(self) -> str:
            return "homed"

    class Rig:
        def __init__(self) -> None:
            self._axis = Axis()

        @property
        def axis(self) -> Axis:
            return self._axis

    class Wrapper:
        """Finds its attributes itself."""

        def __getattr__(self, name: str) -> float:
            if name != "volts":
                raise AttributeError(name)
            return 3.3

    server.add_instance("own_rig", Rig())
    server.add_instance("wrapper", Wrapper())
    rig, wrapper = client.proxy("own_rig"), client.proxy("wrapper")
    assert rig.axis.home() == "homed"
    assert rig.axis.position == 1.5
    assert wrapper.volts == 3.3
    assert not hasattr(wrapper, "amperes")


def test_os_errors_say_which_file(server: RouterServer, client: RouterClient) -> None:
    server.add_instance("disk", open)
    with pytest.raises(FileNotFoundError) as caught:
        client.call("disk", args=["/there/is/none"])
    assert (caught.value.errno, caught.value.filename) == (2, "/there/is/none")
