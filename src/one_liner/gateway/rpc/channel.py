"""One connection's calls, in both directions: which answer belongs to which call, and what runs now. No sockets."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, Protocol

from one_liner.aio import in_background
from one_liner.errors import (
    BusyError,
    CallTimeoutError,
    ClosedError,
    MalformedError,
    OneLinerError,
    RemoteError,
)
from one_liner.gateway.pieces import is_large
from one_liner.gateway.rpc.frames import (
    RPC_ERROR,
    Request,
    Response,
    as_json,
    call_id_of,
    error_text,
    new_id,
    read_frame,
    request_text,
    response_text,
)
from one_liner.gateway.rpc.methods import RpcMethods, find

MAX_CALLS: Final = 4096
"""How many calls of one connection may run at once; the next ones are answered with `BusyError`."""

_DEFAULT: Final = "default"


class Put(Protocol):
    """Takes a text that is to be sent: `Outbox.put`."""

    def __call__(self, content: str, *, key: str | None = None, droppable: bool = False) -> object:
        """Never waits."""


_log = logging.getLogger("one_liner.gateway.rpc")


class RpcChannel:
    """A connection on which both sides may call. Belongs to one event loop.

    Each call of the other side runs in a task of its own, so that none waits for another; they begin in the order in
    which they came. What the other side calls is answered, always: with an error if need be.

    Args:
        methods: what the other side may call.
        put: has a frame sent, and never waits; as `Outbox.put`.
        context: whatever belongs to the connection, for methods and hooks: who it is, what it may.
        timeout_s: how long our calls wait for an answer, if they bring no time of their own; None as long as it takes.
        max_calls: how many calls of the other side may run at once.

    Attributes:
        id: 32 hexadecimal digits; the other side learns it by `_get_channel_id_`.
        context: as given.
        answers_seen: how many answers came in, wanted or not.
        other: `await channel.other.name(argument=1)` calls the other side.
    """

    def __init__(
        self,
        methods: RpcMethods,
        put: Put,
        *,
        context: Mapping[str, Any] | None = None,
        timeout_s: float | None = None,
        max_calls: int = MAX_CALLS,
    ) -> None:
        self.id: str = new_id()
        self.context: dict[str, Any] = dict(context or {})
        self.other = RpcOther(self)
        self._methods = methods._bound_(self)
        self._put = put
        self._timeout_s = timeout_s
        self._max_calls = max_calls
        self._waiting: dict[str, asyncio.Future[Response]] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._ready = asyncio.Event()
        self._closed = asyncio.Event()
        self.answers_seen = 0

    @property
    def closed(self) -> bool:
        """Whether the connection has ended."""
        return self._closed.is_set()

    async def wait_closed(self) -> None:
        """Wait until the connection has ended."""
        await self._closed.wait()

    def begin(self) -> None:
        """Run the calls that came, and those to come; before this they wait."""
        self._ready.set()

    def close(self) -> None:
        """The connection has ended: our calls raise `ClosedError`, those of the other side that wait are withdrawn."""
        self._closed.set()
        for task in self._running:
            task.cancel()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(ClosedError("the connection ended before the answer came"))
        self._waiting.clear()

    # --- calling the other side --------------------------------------------------------------------------------------

    async def call(
        self,
        method: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        timeout_s: float | Literal["default"] | None = _DEFAULT,
    ) -> Response:
        """Call the other side and wait for its answer.

        Args:
            method: the name of a method there.
            arguments: by name.
            timeout_s: how long to wait, in s; None as long as the connection lasts; "default" as the channel was told.

        Raises:
            RemoteError: it answered with an error.
            CallTimeoutError: it did not answer in time.
            ClosedError: the connection ended.
            NotCarriableError: an argument has no JSON.
        """
        limit_s = self._timeout_s if timeout_s == _DEFAULT else timeout_s
        call_id, future = self.ask(method, as_json(dict(arguments or {})))
        try:
            async with asyncio.timeout(limit_s):
                response = await future
        except TimeoutError:
            raise CallTimeoutError(f"{method!r} was not answered by the other side within {limit_s:g} s") from None
        finally:
            self._waiting.pop(call_id, None)
        if response.result_type == RPC_ERROR:
            raise _remote_error(method, response.result)
        return response

    def ask(self, method: str, arguments: str, *, droppable: bool = False) -> tuple[str, asyncio.Future[Response]]:
        """Send a call, with its arguments as JSON; gives its id and what will be the answer. See `forget`.

        One that is droppable may be dropped where there is no room; then no answer will come.

        Raises:
            ClosedError: the connection ended.
        """
        if self.closed:
            raise ClosedError("the connection has ended")
        call_id = new_id()
        future = self._waiting[call_id] = asyncio.get_running_loop().create_future()
        self._put(request_text(method, arguments, call_id), droppable=droppable)
        return call_id, future

    def forget(self, call_id: str) -> None:
        """The answer to a call is not wanted any more."""
        self._waiting.pop(call_id, None)

    def tell(self, method: str, arguments: str, key: str | None = None) -> None:
        """Send a call, with its arguments as JSON, whose answer nobody waits for.

        It may be dropped, counted, or replaced, while it waits, by the next one with the same `key`.
        """
        if not self.closed:
            self._put(request_text(method, arguments, new_id()), key=key, droppable=True)

    # --- what comes in -----------------------------------------------------------------------------------------------

    def receive(self, text: str | bytes) -> None:
        """Take one frame of the other side. Never waits, never raises: what is no frame is answered with an error."""
        try:
            frame = read_frame(text)
        except MalformedError as error:
            _log.info("channel %s: %s", self.id, error)
            self._put(error_text(error, call_id_of(text)))
            return
        if frame.response is not None:
            self._take_answer(frame.response)
        if frame.request is not None:
            self._take_request(frame.request)

    def _take_answer(self, response: Response) -> None:
        self.answers_seen += 1
        future = self._waiting.pop(response.call_id or "", None)
        if future is not None and not future.done():
            future.set_result(response)

    def _take_request(self, request: Request) -> None:
        if len(self._running) >= self._max_calls:
            busy = BusyError(f"{self._max_calls} calls of yours are under way; wait for an answer")
            self._put(error_text(busy, request.call_id))
            return
        task = in_background(
            self._answer(request),
            f"one_liner rpc {request.method}",
            failed=lambda error: self._put(error_text(error, request.call_id)),
        )
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _answer(self, request: Request) -> None:
        if not self._ready.is_set():
            await self._ready.wait()
        try:
            text = await self._run(request)
        except (Exception, SystemExit, asyncio.CancelledError) as error:
            # A method may await something that was cancelled; that its own call was is known from the channel.
            if isinstance(error, asyncio.CancelledError) and self.closed:
                raise
            if not isinstance(error, OneLinerError):
                _log.info("channel %s: %s raised", self.id, request.method, exc_info=True)
            text = error_text(error, request.call_id)
        self._put(text)

    async def _run(self, request: Request) -> str:
        call = find(self._methods, request.method, self)
        arguments = request.arguments or {}
        args, kwargs = ([], arguments) if isinstance(arguments, dict) else (arguments, {})
        result, result_type = await call(args, kwargs)
        if is_large(result):
            return await asyncio.to_thread(response_text, result, result_type, request.call_id)
        return response_text(result, result_type, request.call_id)


class RpcOther:
    """The other side of a channel: `await channel.other.name(argument=1)`."""

    def __init__(self, channel: RpcChannel) -> None:
        self._channel = channel

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)

        def call(**arguments: Any) -> Any:
            return self._channel.call(name, arguments)

        return call


def _remote_error(method: str, result: Any) -> OneLinerError:
    facts = result if isinstance(result, dict) else {"message": str(result)}
    error = RemoteError(str(facts.get("message", "")))
    error.type_name = str(facts.get("type", "Exception"))
    error.where = method
    return error
