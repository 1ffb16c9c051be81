"""Every error one_liner raises, and whose fault each one is.

The base is `OneLinerError`. Below it stand five families: configuration (you said something that cannot be), protocol
(somebody sent something that cannot be), transport (the server is not there, or not the one you meant), call (the
server is there, this call went wrong) and stream (the same for samples).

Each class has a `code`, which is what travels on the wire: codes are stable, class names may move. This module is
pure apart from naming `zmq.Again`, which `NoDataError` also is, so that scripts written for bare ZeroMQ keep working.
"""

from __future__ import annotations

import errno
from typing import Any, ClassVar

import zmq


class OneLinerError(Exception):
    """Base of every error that one_liner raises on purpose.

    Attributes:
        code: stable text that names this kind of error on the wire.
        details: facts about this very error, as data (which endpoint, since when, which object).
    """

    code: ClassVar[str] = "error"

    def __init__(self, message: str = "", **details: Any) -> None:
        # Not super(): builtin types that some errors also are (UnicodeDecodeError, zmq.Again) want other arguments.
        Exception.__init__(self, message)
        self.message = message
        self.details: dict[str, Any] = details

    def __str__(self) -> str:
        # Spelled out, because KeyError (a base of some classes below) would show the repr of the message.
        return self.message


# --- configuration ---------------------------------------------------------------------------------------------------


class ConfigurationError(OneLinerError, ValueError):
    """An argument, a name or a configuration file that cannot be right; nothing was changed."""

    code = "configuration"


class MissingExtraError(OneLinerError, ImportError):
    """An optional library is needed and not installed; the message holds the command that installs it."""

    code = "missing_extra"


class AlreadyStartedError(OneLinerError, RuntimeError):
    """What is started once only was started again, or was stopped already; make a new one."""

    code = "already_started"


class PortInUseError(ConfigurationError):
    """The address to bind is taken; nothing stays bound.

    `details` have the `endpoint` and, where the system tells who has it, `pid` and `program`.
    """

    code = "port_in_use"


# --- protocol --------------------------------------------------------------------------------------------------------


class ProtocolError(OneLinerError):
    """What was said, or was about to be said, is not in the protocol."""

    code = "protocol"


class LocalProtocolError(ProtocolError):
    """We were about to send what cannot be sent; nothing left this process."""

    code = "local_protocol"


class NotCarriableError(LocalProtocolError, TypeError):
    """A value holds something that cannot travel.

    Attributes:
        path: where it sits, as Python would reach it: `result["stage"].handle`.
        type_name: what it is: `serial.Serial`.
    """

    code = "not_carriable"

    def __init__(self, message: str = "", *, path: str = "", type_name: str = "", **details: Any) -> None:
        super().__init__(message, path=path, type_name=type_name, **details)
        self.path = path
        self.type_name = type_name


class RemoteProtocolError(ProtocolError):
    """The other side sent something that is not in the protocol."""

    code = "remote_protocol"


class MalformedError(RemoteProtocolError):
    """Bytes that are no message of ours, or a message whose content contradicts itself."""

    code = "malformed"


class LimitError(RemoteProtocolError):
    """A message, or a peer, went beyond a limit that protects this side."""

    code = "limit"


# --- transport -------------------------------------------------------------------------------------------------------


class TransportError(OneLinerError):
    """The server cannot be reached, or is not the one that was meant."""

    code = "transport"


class NoServerError(TransportError, ConnectionError):
    """Nobody answers at this address. The call did not leave, so it did not run."""

    code = "no_server"


class RefusedError(TransportError, ConnectionError):
    """The server is there and does not want us: wrong key, or not allowed."""

    code = "refused"


class ServerLostError(TransportError, ConnectionError):
    """The server answered before and does not any more. A call under way may or may not have run."""

    code = "server_lost"


class ServerRestartedError(ServerLostError):
    """The server that took the call is gone and another runs in its place. The call may or may not have run."""

    code = "server_restarted"


class JobLostError(ServerRestartedError):
    """The server that had the job is gone and another runs in its place. The job may or may not have run to its end."""

    code = "job_lost"


class VersionMismatchError(TransportError):
    """Client and server speak different versions of the protocol."""

    code = "version_mismatch"


class ClosedError(TransportError):
    """This client or server was closed, by us, while somebody used it or before."""

    code = "closed"


class ServerClosedError(TransportError, ConnectionError):
    """The server was closed in good order. A call that ran may have done its work; one that waited did not run."""

    code = "server_closed"


class ForkedError(TransportError):
    """This object was made in another process; a forked child has to make its own."""

    code = "forked"


class RouterDownError(TransportError, ConnectionError):
    """One hop of a cascade cannot be reached; the message names it."""

    code = "router_down"


class BrokerLostError(TransportError, ConnectionError):
    """The broker that joins gateways, or that a bridge publishes to, cannot be reached."""

    code = "broker_lost"


class LoopError(TransportError):
    """A cascade leads back to a server that the request already went through; the message names the way."""

    code = "loop"


# --- calls -----------------------------------------------------------------------------------------------------------


class CallError(OneLinerError):
    """The server is well; this call was not."""

    code = "call"


class CallTimeoutError(CallError, TimeoutError):
    """The answer did not come within `timeout_s`. The call may still run; its late reply is dropped and counted."""

    code = "call_timeout"


class NotExposedError(CallError):
    """The name may not be reached from outside."""

    code = "not_exposed"


class UnknownObjectError(NotExposedError, KeyError):
    """No object, named call or router of this name is served."""

    code = "unknown_object"


class UnknownAttributeError(NotExposedError, AttributeError):
    """The object is served but has no such attribute, or none that may be reached."""

    code = "unknown_attribute"


class BadArgumentsError(CallError, TypeError):
    """The arguments do not fit the signature; the function did not run."""

    code = "bad_arguments"


class BusyError(CallError):
    """The object is at work with another call, and this one did not want to wait (`if_busy="refuse"`). It did not run.

    The message, and `details`, say with what (`running`), for whom (`who`) and since how many seconds (`for_s`).
    """

    code = "busy"


class BusyTimeoutError(CallTimeoutError, BusyError):
    """The call waited for the object until its time was up, and was withdrawn: it did not run.

    The message, and `details`, say what the object is at work with, for whom and since when.
    """

    code = "busy_timeout"


class LeasedError(BusyError):
    """Somebody else has exclusive control; `details` name them. The call did not run."""

    code = "leased"


class LeaseLostError(CallError):
    """This client had exclusive control and has it no longer: an operator took it, or our heartbeats did not arrive."""

    code = "lease_lost"


class AnswerLostError(CallError):
    """The call was received, and its answer is not kept any more. It may or may not have run to its end."""

    code = "answer_lost"


class NotReceivedError(CallError):
    """The call was lost with a broken connection before it was received. It did not run, and will not."""

    code = "not_received"


class JobError(CallError):
    """Something about one job; the others go on."""

    code = "job"


class UnknownJobError(JobError, KeyError):
    """The server knows no job of this id; the message says whether it ever did."""

    code = "unknown_job"


class JobStateError(JobError):
    """This cannot be done with the job in the state that it is in: a finished one cannot be paused."""

    code = "job_state"


class JobCancelledError(JobError):
    """The job was cancelled; the message says by whom, or why. There is no result."""

    code = "job_cancelled"


class JobTimeoutError(JobError, TimeoutError):
    """The time that the job was given is up; it did not run, or has ended before it was done."""

    code = "job_timeout"


class RemoteError(CallError):
    """The function ran and raised.

    An exception of a builtin type arrives as a subclass of both this and that type, so `except ValueError` works. As
    text, one of any other type has its type in front: `serial.SerialException: no such port`.

    Attributes:
        message: what it said, without the type.
        type_name: the remote exception's type: `ValueError`, `serial.SerialException`.
        remote_args: its arguments, those that could be carried; the `repr` of the others.
        remote_traceback: the remote traceback, as text.
        where: what was called, as the server saw it: `laser.set_power`.
    """

    code = "remote"
    type_name: str = "Exception"
    remote_args: tuple[Any, ...] = ()
    remote_traceback: str = ""
    where: str = ""

    def __str__(self) -> str:
        said_by_class = self.type_name in (type(self).__name__, "Exception", self.message)
        return self.message if said_by_class else f"{self.type_name}: {self.message}"


# --- streams ---------------------------------------------------------------------------------------------------------


class StreamError(OneLinerError):
    """Something about one stream; the others go on."""

    code = "stream"


class UnknownStreamError(StreamError, KeyError):
    """No stream of this name exists on the server, or this client has not configured it."""

    code = "unknown_stream"


class NoDataError(StreamError, zmq.Again):
    """Nothing new has arrived. Also a `zmq.Again`, as a bare socket would raise.

    The message says why, where that is known: the server has no such stream, or its streams cannot be reached.
    """

    code = "no_data"

    def __init__(self, message: str = "", **details: Any) -> None:
        super().__init__(message, **details)
        self.errno = errno.EAGAIN
        self.strerror = message


class StreamTimeoutError(NoDataError, TimeoutError):  # type: ignore[misc]  # both have strerror, as text
    """A waiting read got nothing within its `timeout_s`."""

    code = "stream_timeout"


class SourceFailedError(StreamError, RemoteError):
    """The stream's function raised, or returned what cannot be carried. This error *is* that sample."""

    code = "source_failed"


def by_code() -> dict[str, type[OneLinerError]]:
    """Every class of this module under its wire code."""
    classes: dict[str, type[OneLinerError]] = {}
    pending: list[type[OneLinerError]] = [OneLinerError]
    while pending:
        cls = pending.pop()
        # Not those that were made at run time, to be of a builtin type too: they carry the code of their base.
        if globals().get(cls.__name__) is cls:
            classes[cls.code] = cls
        pending.extend(cls.__subclasses__())
    return classes
