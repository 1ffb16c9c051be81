"""What goes wrong at the server arrives as one clear error, and the server goes on."""

from __future__ import annotations

import builtins
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from one_liner import RouterClient, RouterServer
from one_liner.errors import (
    BadArgumentsError,
    BusyError,
    CallError,
    ConfigurationError,
    MalformedError,
    NoServerError,
    NotCarriableError,
    NotExposedError,
    OneLinerError,
    RemoteError,
    SourceFailedError,
    TransportError,
    UnknownAttributeError,
    UnknownObjectError,
    by_code,
)
from one_liner.wire.codec import Codec
from one_liner.wire.faults import error_of, fault_of

CODEC = Codec()
# A group cannot be empty; the others would end loops of the caller without a word.
NOT_AS_THEMSELVES = (BaseExceptionGroup, StopIteration, StopAsyncIteration)
BUILTIN_ERRORS = sorted(
    {
        value
        for value in vars(builtins).values()
        if isinstance(value, type) and issubclass(value, Exception) and not issubclass(value, NOT_AS_THEMSELVES)
    },
    key=lambda cls: cls.__name__,
)


class DriverError(Exception):
    """An exception of a driver's own."""


class OurKindOfError(OneLinerError):
    """A driver that derives from our base and has a constructor of its own."""

    def __init__(self, code_number: int) -> None:
        self.code_number = code_number


class Text(str):
    """Text of a class that nobody registered."""


class TextSubclassError(Exception):
    def __str__(self) -> str:
        return Text("of a subclass")


class NoTextError(Exception):
    def __str__(self) -> str:
        raise ValueError("no text either")


class ExitingTextError(Exception):
    def __str__(self) -> str:
        sys.exit(3)


class NoArgsError(Exception):
    @property
    def args(self) -> Any:  # type: ignore[override]
        raise ValueError("no arguments either")


class OddArgsError(Exception):
    args = 5  # type: ignore[assignment]


class Unspeakable:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __repr__(self) -> str:
        raise self.error


class Driver:
    def ok(self) -> str:
        return "ok"

    def raising(self) -> None:
        raise self.error

    def arguments(self, a: int, *, b: int = 0) -> int:
        return a + b

    def mistaken_inside(self, a: int = 0) -> int:
        return a + "text"  # type: ignore[operator]

    def mistaken_call_inside(self, a: int = 0) -> int:
        return self.arguments(a, c=3)  # type: ignore[call-arg]

    def chained(self) -> None:
        try:
            raise OSError(5, "the cable")
        except OSError as error:
            raise DriverError("no answer from the laser") from error

    def during(self) -> None:
        try:
            raise KeyError("first")
        except KeyError:
            raise DriverError("second")  # noqa: B904   # the implicit context is what is tested

    def give(self) -> Any:
        return self.value

    error: BaseException = ValueError()
    value: Any = None

    @property
    def broken(self) -> int:
        raise AttributeError("inside the property")


@pytest.fixture(params=["tcp", "ipc", "inproc"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A server with a driver that raises what it is told to, and a client."""
    interface = {"tcp": "127.0.0.1", "ipc": str(tmp_path_factory.mktemp("e") / "rig"), "inproc": "errors"}
    place = {"protocol": request.param, "interface": interface[request.param]}
    driver = Driver()
    with RouterServer(**place, rpc_port=0, broadcast_port=0, instances={"driver": driver}, heartbeat_s=0.2) as server:
        server.run()
        with RouterClient(
            **place, rpc_port=server.rpc_port, broadcast_port=None, heartbeat_s=0.2, timeout_s=20
        ) as client:
            client.call("driver", "ok")
            yield {"driver": driver, "server": server, "client": client}


@pytest.fixture
def client(served: dict[str, Any]) -> Iterator[RouterClient]:
    """Its client; afterwards the same object still answers, on the same thread or another."""
    yield served["client"]
    assert served["client"].call("driver", "ok") == "ok"
    assert served["server"].running_calls() == []


@pytest.fixture
def raised(served: dict[str, Any], client: RouterClient) -> Callable[[BaseException], OneLinerError]:
    """Has the driver raise something and gives what arrives."""

    def raise_it(error: BaseException) -> OneLinerError:
        served["driver"].error = error
        with pytest.raises(OneLinerError) as caught:
            client.call("driver", "raising")
        return caught.value

    return raise_it


# --- what a function raised ------------------------------------------------------------------------------------------


def test_type_message_arguments_and_traceback_arrive(raised: Callable[..., Any]) -> None:
    error = raised(DriverError("no light", 7, {"shutter": "closed"}))
    assert isinstance(error, RemoteError)
    assert error.type_name.endswith("test_remote_errors.DriverError")
    assert error.remote_args == error.args == ("no light", 7, {"shutter": "closed"})
    assert "no light" in str(error)
    assert "in raising" in error.remote_traceback
    assert "raise self.error" in error.remote_traceback
    assert "one_liner" not in error.remote_traceback.partition("\n")[2].partition("\n")[0], "our frames tell nothing"
    assert error.where == "driver.raising"
    assert any("in raising" in note for note in error.__notes__), "Python prints it under the local traceback"


@pytest.mark.parametrize(
    ("error", "text", "message"),
    [
        (DriverError("no light"), f"{__name__}.DriverError: no light", "no light"),
        (DriverError(), f"{__name__}.DriverError", f"{__name__}.DriverError"),
        (StopIteration("dry"), "StopIteration: dry", "dry"),
        (ValueError("too much"), "too much", "too much"),
        (Exception("something"), "something", "something"),
        (KeyError("k"), "k", "k"),
    ],
)
def test_as_text_it_says_its_type_where_the_class_does_not(
    raised: Callable[..., Any], error: Exception, text: str, message: str
) -> None:
    arrived = raised(error)
    assert str(arrived) == text
    assert arrived.message == message
    # Passed on by yet another server, it is still said once.
    assert str(error_of(fault_of(arrived, CODEC))) == text
    assert str(error_of(fault_of(error, CODEC), of_sample=True)) == text


def test_an_error_of_nobody_is_its_message() -> None:
    assert str(RemoteError("no light")) == "no light"


@pytest.mark.parametrize(
    ("error", "caught_as"),
    [
        (ValueError("v"), ValueError),
        (KeyError("k"), KeyError),
        (KeyError("k"), LookupError),
        (IndexError("i"), LookupError),
        (OSError(19, "no such device"), OSError),
        (FileNotFoundError(2, "nothing there", "/dev/ttyUSB0"), FileNotFoundError),
        (PermissionError(13, "no"), OSError),
        (TimeoutError("late"), TimeoutError),
        (ConnectionResetError(104, "gone"), ConnectionError),
        (ZeroDivisionError("z"), ArithmeticError),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), UnicodeDecodeError),
        (UnicodeEncodeError("ascii", "\xe4", 0, 1, "ordinal not in range"), UnicodeError),
        (NotImplementedError("n"), NotImplementedError),
        (AssertionError("a"), AssertionError),
        (AttributeError("no x"), AttributeError),
        (ImportError("no module"), ImportError),
        (RuntimeWarning("w"), Warning),
    ],
)
def test_builtin_exceptions_are_caught_as_themselves(
    raised: Callable[..., Any], error: Exception, caught_as: type[Exception]
) -> None:
    arrived = raised(error)
    assert isinstance(arrived, caught_as)
    assert isinstance(arrived, RemoteError)
    assert arrived.type_name == type(error).__name__
    assert arrived.args == error.args


def test_an_oserror_keeps_what_it_has_beside_its_arguments(raised: Callable[..., Any]) -> None:
    error = raised(FileNotFoundError(2, "nothing there", "/dev/ttyUSB0"))
    assert (error.errno, error.strerror) == (2, "nothing there")
    assert raised(OSError("just text")).errno is None


def test_a_unicode_error_keeps_what_it_has_beside_its_arguments(raised: Callable[..., Any]) -> None:
    error = raised(UnicodeDecodeError("utf-8", b"ab\xff", 2, 3, "invalid start byte"))
    assert (error.encoding, error.object, error.start, error.end) == ("utf-8", b"ab\xff", 2, 3)


@pytest.mark.parametrize("cls", BUILTIN_ERRORS, ids=lambda cls: cls.__name__)
def test_every_builtin_exception_can_be_built_anew(cls: type[Exception]) -> None:
    # Without a socket: what is raised here is what the wire would carry.
    fault = CODEC.decode(*CODEC.encode(fault_of(cls.__new__(cls), CODEC, "x.y")))
    for arguments in ([], ["text"], [1, "text"], ["utf-8", b"\xff", 0, 1, "why"], [None] * 9):
        error = error_of({**fault, "args": arguments, "message": "m"})
        assert isinstance(error, cls)
        assert isinstance(error, RemoteError)
        assert error.args == (tuple(arguments) or ("m",))
        assert str(error)
        assert repr(error)


def test_the_end_of_an_iterator_does_not_end_the_loops_of_the_caller(raised: Callable[..., Any]) -> None:
    error = raised(StopIteration(5))
    assert not isinstance(error, StopIteration), "in a generator it would end without a word"
    assert (type(error), error.type_name, error.args) == (RemoteError, "StopIteration", (5,))


def test_an_exception_group_arrives(raised: Callable[..., Any]) -> None:
    error = raised(ExceptionGroup("both", [ValueError("one"), KeyError("two")]))
    assert isinstance(error, RemoteError)
    assert error.type_name == "ExceptionGroup"
    assert "ValueError: one" in error.remote_traceback
    assert "KeyError: 'two'" in error.remote_traceback


@pytest.mark.parametrize("error", [SystemExit(4), KeyboardInterrupt(), GeneratorExit(), BaseException("base")])
def test_a_driver_cannot_end_its_server(raised: Callable[..., Any], error: BaseException) -> None:
    arrived = raised(error)
    assert isinstance(arrived, RemoteError)
    assert arrived.type_name == type(error).__name__
    assert isinstance(arrived, Exception)


@pytest.mark.parametrize(
    "error",
    [
        NoTextError("x"),
        ExitingTextError("x"),
        TextSubclassError("x"),
        NoArgsError("x"),
        OddArgsError("x"),
        OurKindOfError(5),
        ValueError(Unspeakable(ValueError("no repr"))),
        ValueError(Unspeakable(ValueError("no repr")), 1),
        ValueError(Unspeakable(SystemExit())),
        ValueError(Unspeakable(KeyboardInterrupt())),
        ValueError("\udcff lone surrogate"),
        ValueError(10**5000),
        KeyError(Unspeakable(ValueError("no repr"))),
    ],
    ids=lambda error: f"{type(error).__name__}-{len(error.__dict__)}" if type(error) is not ValueError else None,
)
def test_an_exception_that_is_broken_itself_still_arrives(raised: Callable[..., Any], error: BaseException) -> None:
    arrived = raised(error)
    assert isinstance(arrived, RemoteError)
    assert type(error).__name__ in arrived.type_name
    assert isinstance(str(arrived), str)
    assert arrived.remote_traceback is not None


def test_a_huge_message_arrives_and_a_huge_traceback_is_cut(raised: Callable[..., Any]) -> None:
    error = raised(ValueError("x" * 3_000_000))
    assert len(str(error)) == 3_000_000
    assert len(error.remote_traceback) < 100_000


def test_arguments_that_cannot_travel_arrive_as_their_repr(raised: Callable[..., Any]) -> None:
    lock = threading.Lock()
    error = raised(DriverError("busy", lock, os.environ, lambda: None))
    assert error.remote_args[0] == "busy"
    assert error.remote_args[1] == repr(lock)
    assert all(isinstance(argument, str) for argument in error.remote_args)


def test_chains_are_in_the_traceback(served: dict[str, Any], client: RouterClient) -> None:
    with pytest.raises(RemoteError) as caught:
        client.call("driver", "chained")
    text = caught.value.remote_traceback
    assert "OSError: [Errno 5] the cable" in text
    assert "direct cause" in text
    assert "no answer from the laser" in text
    with pytest.raises(RemoteError) as caught:
        client.call("driver", "during")
    assert "KeyError: 'first'" in caught.value.remote_traceback


def test_a_property_that_fails_says_its_own_words(client: RouterClient) -> None:
    for ask in (lambda: client.get("driver", "broken"), lambda: client.call("driver", "broken")):
        with pytest.raises(RemoteError, match="inside the property") as caught:
            ask()
        assert isinstance(caught.value, AttributeError)
        assert not isinstance(caught.value, UnknownAttributeError)


@pytest.mark.parametrize(
    "error", [NoServerError("the other one is away"), MalformedError("?"), ConfigurationError("x")]
)
def test_a_drivers_own_trouble_with_a_server_is_not_taken_for_trouble_with_this_one(
    raised: Callable[..., Any], error: OneLinerError
) -> None:
    arrived = raised(error)
    assert isinstance(arrived, RemoteError), "the function ran and raised: nothing else happened between us two"
    assert not isinstance(arrived, TransportError | ConfigurationError | MalformedError)
    assert type(error).__name__ in arrived.type_name
    assert "in raising" in arrived.remote_traceback


def test_what_happened_at_yet_another_server_is_passed_on(raised: Callable[..., Any]) -> None:
    far = error_of(fault_of(ValueError("far away", 3), CODEC, "far.laser"))
    arrived = raised(far)
    assert isinstance(arrived, ValueError)
    assert (arrived.args, getattr(arrived, "where", None)) == (("far away", 3), "far.laser")


# --- what did not run ------------------------------------------------------------------------------------------------


def test_what_does_not_exist_is_named_with_what_does(client: RouterClient) -> None:
    with pytest.raises(UnknownObjectError, match="driver"):
        client.call("drivr", "ok")
    with pytest.raises(KeyError):
        client.call("drivr", "ok")
    with pytest.raises(UnknownAttributeError, match="arguments"):
        client.call("driver", "argument")
    with pytest.raises(AttributeError):
        client.get("driver", "okk")
    with pytest.raises(UnknownObjectError, match="no named call"):
        client.call_by_name("missing")
    with pytest.raises(NotExposedError):
        client.call("driver", "__class__")
    with pytest.raises(UnknownAttributeError):
        client.call("driver")


@pytest.mark.parametrize(("args", "kwargs"), [([], {}), ([1, 2], {}), ([1], {"c": 3}), ([1], {"a": 1}), ([], {"b": 1})])
def test_arguments_that_do_not_fit_are_told_from_a_mistake_inside(
    client: RouterClient, args: list[Any], kwargs: dict[str, Any]
) -> None:
    with pytest.raises(BadArgumentsError, match=r"arguments\(a: int, \*, b: int = 0\)") as caught:
        client.call("driver", "arguments", args, kwargs)
    assert isinstance(caught.value, TypeError)
    assert not isinstance(caught.value, RemoteError)


@pytest.mark.parametrize("name", ["mistaken_inside", "mistaken_call_inside"])
def test_a_type_error_inside_is_the_functions_own(client: RouterClient, name: str) -> None:
    with pytest.raises(RemoteError) as caught:
        client.call("driver", name, [1])
    assert isinstance(caught.value, TypeError)
    assert not isinstance(caught.value, BadArgumentsError)
    assert f"in {name}" in caught.value.remote_traceback


def test_a_result_that_cannot_travel_is_named_with_its_path(served: dict[str, Any], client: RouterClient) -> None:
    cyclic: list[Any] = [1]
    cyclic.append(cyclic)
    for value, path, type_name in (
        (threading.Lock(), "result", "_thread.lock"),
        ({"stage": [1, {"handle": threading.Lock()}]}, 'result["stage"][1]["handle"]', "_thread.lock"),
        ((x for x in "a"), "result", "generator"),
        (served["server"], "result", "one_liner.server.RouterServer"),
        (cyclic, "result[1]", "list"),
    ):
        served["driver"].value = value
        with pytest.raises(NotCarriableError) as caught:
            client.call("driver", "give")
        assert (caught.value.path, caught.value.type_name) == (path, type_name)
        assert path in str(caught.value)
        assert type_name in str(caught.value)
    served["driver"].value = None


# --- streams ---------------------------------------------------------------------------------------------------------


def test_a_stream_goes_on_after_every_broken_exception(served: dict[str, Any], client: RouterClient) -> None:
    server = served["server"]
    errors = [
        OurKindOfError(1),
        TextSubclassError("x"),
        NoArgsError("x"),
        FileNotFoundError(2, "gone"),
        SystemExit(3),
        StopIteration(),
    ]
    pending = list(errors)

    def read() -> str:
        if pending:
            raise pending.pop(0)
        return "well"

    client.configure_stream("failing", wait=True, timeout_s=20)
    server.add_stream_from_callable("failing", 100, read)
    try:
        for error in errors:
            with pytest.raises(SourceFailedError) as caught:
                client.get_stream("failing", timeout_s=10)
            assert type(error).__name__ in caught.value.type_name
        assert client.get_stream("failing", timeout_s=10)[1] == "well"
    finally:
        server.remove_stream("failing")
        client.unconfigure_stream("failing")


def test_a_failed_tick_gives_the_lane_back(served: dict[str, Any], client: RouterClient) -> None:
    server, driver = served["server"], served["driver"]
    driver.error = OurKindOfError(1)
    client.configure_stream("raising", wait=True, timeout_s=20)
    server.add_stream("raising", 50, "driver", "raising")
    try:
        with pytest.raises(SourceFailedError):
            client.get_stream("raising", timeout_s=10)
        assert client.call("driver", "ok") == "ok"
    finally:
        server.remove_stream("raising")
        client.unconfigure_stream("raising")


def test_iterating_a_stream_shows_a_source_that_ran_dry_as_an_error(
    served: dict[str, Any], client: RouterClient
) -> None:
    push = served["server"].get_stream_fn("dry")
    client.configure_stream("dry", wait=True, timeout_s=20)
    push(StopIteration("no more frames"))
    push(1)
    try:
        with pytest.raises(SourceFailedError):
            next(client.stream("dry", timeout_s=10))
        assert next(client.stream("dry", timeout_s=10))[1] == 1
    finally:
        served["server"].remove_stream("dry")
        client.unconfigure_stream("dry")


# --- the classes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", sorted(by_code()))
def test_every_error_of_ours_crosses_the_wire_as_itself(code: str) -> None:
    cls = by_code()[code]
    if issubclass(cls, RemoteError):
        return
    error = cls("what happened", router="north") if cls is not NotCarriableError else cls("what happened", path="a.b")
    fault = CODEC.decode(*CODEC.encode(fault_of(error, CODEC, "x.y")))
    arrived = error_of(fault)
    assert type(arrived) is cls
    assert str(arrived) == "what happened"
    assert arrived.details == error.details


def test_an_unknown_code_of_a_later_version_is_still_an_error() -> None:
    fault = {**fault_of(BusyError("busy"), CODEC), "code": "from_the_future"}
    assert type(error_of(fault)) is OneLinerError


NO_FAULTS: dict[str, Any] = {
    "nothing": None,
    "a number": 5,
    "a list": [],
    "an empty dict": {},
    "text": "text",
    "a masked array": np.ma.masked,
    "an array with fields": np.zeros(1, [("code", "<f8"), ("message", "<f8")])[0],
    "parts": {"code": "remote"},
    **{
        f"{which} {name}": {**fault_of(ValueError(), CODEC), name: what}
        for name in ("code", "message", "type", "args", "traceback", "where", "details")
        for which, what in (("small", 5), ("huge", 10**5000), ("a dict of", {5: 5}))
    },
}


@pytest.mark.parametrize("which", NO_FAULTS)
def test_what_is_no_fault_is_malformed(which: str) -> None:
    with pytest.raises(MalformedError):
        raise error_of(NO_FAULTS[which])


def test_strange_details_harm_no_error() -> None:
    fault = fault_of(NotCarriableError("what happened", path="a.b"), CODEC)
    arrived = error_of({**fault, "details": {"message": 1, "self": 2, "path": 10**5000, "type_name": "X"}})
    assert isinstance(arrived, NotCarriableError)
    assert (str(arrived), arrived.path, arrived.type_name) == ("what happened", "", "X")


def test_foreign_names_do_not_fill_our_memory() -> None:
    fault = fault_of(ValueError("x"), CODEC)
    for index in range(100):
        error = error_of({**fault, "type": f"Invented{index}"})
        assert type(error) is RemoteError
        assert isinstance(error, CallError)
    for name in ("print", "object", "int", "__import__", "KeyboardInterrupt", "BaseException", "Exception"):
        assert type(error_of({**fault, "type": name})) is RemoteError
