"""The bridge: from one server to NATS, and calls the other way."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Self
from urllib.parse import urlsplit

import numpy as np

from one_liner.aio import AsyncRouterClient, Sample, anew, in_background, stopped
from one_liner.errors import (
    BadArgumentsError,
    BrokerLostError,
    BusyError,
    ClosedError,
    ConfigurationError,
    MissingExtraError,
    NotExposedError,
    OneLinerError,
    RemoteError,
    SourceFailedError,
    TransportError,
    UnknownStreamError,
)
from one_liner.gateway.bridge.subjects import Subjects
from one_liner.gateway.faults import fault_json
from one_liner.gateway.json_values import dumps
from one_liner.gateway.pieces import is_large, json_pieces

try:
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.errors import Error as NatsError
    from nats.errors import MaxPayloadError
    from nats.js.api import RetentionPolicy, StorageType, StreamConfig
    from nats.js.errors import NotFoundError
except ImportError as error:
    if error.name is None or error.name.partition(".")[0] != "nats":
        raise
    raise MissingExtraError("this needs: pip install 'one_liner[gateway]'") from None

ALL: Final = "*"
"""In place of names: all there are."""

MAX_CALLS: Final = 1000

_LOOK_EVERY_S = 0.5
_AGAIN_S = 0.25
_RECONNECT_S = 1
_GATHER_S = 0.001
_MOST_WAITING = 10_000
_MOST_IN_A_ROW = 256

_log = logging.getLogger("one_liner.gateway.bridge")


@dataclass(frozen=True)
class Keep:
    """How JetStream keeps what is published, so that it can be read again.

    Attributes:
        name: of its stream; made from the prefix if None.
        max_age_s: for how long; None for any time.
        max_bytes: up to which size; the oldest is forgotten first.
    """

    name: str | None = None
    max_age_s: float | None = None
    max_bytes: int = 1 << 30


@dataclass(frozen=True)
class BridgeStatistics:
    """What a bridge has done.

    Attributes:
        published: how many samples and events were handed to the broker's client.
        unsent: how many were not, because the broker was away, or the sample larger than it takes.
        answered: how many calls were answered, with results or errors.
        reconnections: how often the broker came back.
        connected: whether it is there now.
    """

    published: int = 0
    unsent: int = 0
    answered: int = 0
    reconnections: int = 0
    connected: bool = False


class Bridge:
    """Publishes streams and events of one server as subjects of NATS, and answers calls there.

    A sample is published as JSON, `{"timestamp", "sequence", "data"}`: the wall-clock time in s, its number, its value.
    The numbers have no gap but where something was lost. A call is a NATS request with the arguments as JSON, an object
    by name or a list by position, and is answered `{"result", "result_type"}` or `{"error": {…}}`. Several bridges of
    one prefix share the calls: each is made by one of them.

    Belongs to one event loop. Broker and server may come and go in any order.

    Args:
        url: `nats://host:4222`, or several with commas between.
        client: of the server; stays open when the bridge ends.
        prefix: in front of all subjects.
        streams: names of streams, of events as `:event`; "*" for all streams there are and will be.
        calls: the objects that may be called; "*" for all. None by default.
        keep: have JetStream keep what is published.

    Raises:
        ConfigurationError: a URL or a prefix that cannot be.
    """

    def __init__(
        self,
        url: str,
        client: AsyncRouterClient,
        *,
        prefix: str = "one_liner",
        streams: Iterable[str] = (),
        calls: Iterable[str] = (),
        keep: Keep | None = None,
    ) -> None:
        self.subjects = Subjects(prefix)
        self._urls = url.split(",")
        if not all(urlsplit(one).scheme in ("nats", "tls", "ws", "wss") for one in self._urls):
            raise ConfigurationError(f"a broker is written nats://HOST:4222, not {url!r}")
        self._client = client
        self._streams = frozenset(streams)
        self._calls = frozenset(calls)
        self._keep = keep
        self._prefix = prefix
        self._broker: Client | None = None
        self._published = self._unsent = self._answered = self._reconnections = 0
        self._missed = 0
        self._too_large: set[str] = set()
        self._ready = asyncio.Event()
        self._failure: Exception | None = None
        self._readers: dict[str, asyncio.Task[None]] = {}
        self._running: set[asyncio.Task[None]] = set()

    @property
    def statistics(self) -> BridgeStatistics:
        """What it has done, until now."""
        connected = self._broker is not None and self._broker.is_connected
        return BridgeStatistics(self._published, self._unsent, self._answered, self._reconnections, connected)

    async def run(self) -> None:
        """Work until this is cancelled.

        Raises:
            BrokerLostError: the broker refuses us, or cannot keep anything.
        """
        try:
            await self._connect()
            async with asyncio.TaskGroup() as together:
                together.create_task(self._follow_streams())
        except* NatsError as errors:
            raise BrokerLostError(f"{self._urls[0]}: {errors.exceptions[0]}") from None
        finally:
            await stopped(*self._readers.values(), *self._running)
            if self._broker is not None:
                await self._broker.close()

    async def wait_connected(self) -> None:
        """Wait until the broker was reached for the first time; calls are answered from then on.

        Raises:
            BrokerLostError: it was not, and will not be. Inside `async with` only, as `run` raises it by itself.
        """
        await self._ready.wait()
        if self._failure is not None:
            raise self._failure

    async def __aenter__(self) -> Self:
        self._task = in_background(self.run(), "one_liner bridge", failed=self._fail)
        return self

    def _fail(self, error: Exception) -> None:
        """Nobody waits for a bridge that has ended."""
        self._failure = error
        self._ready.set()

    async def __aexit__(self, *_: object) -> None:
        await stopped(self._task)
        if not self._task.cancelled():
            self._task.result()

    # --- the broker --------------------------------------------------------------------------------------------------

    async def _connect(self) -> None:
        self._broker = Client()
        await self._broker.connect(
            self._urls,
            name=f"one_liner bridge {self._prefix}",
            max_reconnect_attempts=-1,
            reconnect_time_wait=_RECONNECT_S,
            allow_reconnect=True,
            error_cb=self._on_error,
            disconnected_cb=self._on_disconnect,
            reconnected_cb=self._on_reconnect,
            ping_interval=5,
            max_outstanding_pings=2,
        )
        _log.info("connected to %s", self._broker.connected_url)
        if self._keep is not None:
            await self._make_kept(self._keep)
        if self._calls:
            await self._broker.subscribe(self.subjects.calls, queue=self._prefix, cb=self._on_call)
            await self._broker.subscribe(self.subjects.description, queue=self._prefix, cb=self._on_describe)
            # Its ping overtakes what was to be sent before it; the second one comes behind all that.
            await self._broker.flush()
            await self._broker.flush()
        self._ready.set()

    async def _make_kept(self, keep: Keep) -> None:
        assert self._broker is not None
        stream = self._broker.jetstream()
        config = StreamConfig(
            name=keep.name or self._prefix.replace(".", "_"),
            subjects=self.subjects.published,
            retention=RetentionPolicy.LIMITS,
            storage=StorageType.FILE,
            max_age=keep.max_age_s or 0,
            max_bytes=keep.max_bytes,
        )
        try:
            await stream.update_stream(config)
        except NotFoundError:
            await stream.add_stream(config)

    async def _on_error(self, error: Exception) -> None:
        _log.debug("broker: %s", error)

    async def _on_disconnect(self) -> None:
        if self._broker is not None and not self._broker.is_closed:  # Not by us.
            _log.warning("the broker %s is away; trying again", self._urls[0])

    async def _on_reconnect(self) -> None:
        self._reconnections += 1
        _log.warning("the broker is back; %d sample(s) could not be published meanwhile", self._missed)
        self._missed = 0

    # --- streams -----------------------------------------------------------------------------------------------------

    async def _follow_streams(self) -> None:
        seen: object = None
        while True:
            if ALL not in self._streams:
                self._read(self._streams)
            elif self._client.revision != seen:
                revision = self._client.revision
                try:
                    names = {*await self._client.get_stream_configurations(), *self._streams} - {ALL}
                except OneLinerError as error:
                    _log.debug("the streams cannot be listed now: %s", error)
                else:
                    seen = revision
                    self._read(names)
            await asyncio.sleep(_LOOK_EVERY_S)

    def _read(self, names: Iterable[str]) -> None:
        wanted = set(names)
        for name in self._readers.keys() - wanted:
            self._readers.pop(name).cancel()
        for name in wanted - self._readers.keys():
            self._readers[name] = in_background(anew(partial(self._publish_all, name)), f"one_liner bridge {name}")

    async def _publish_all(self, name: str) -> None:
        subject = self.subjects.of_stream(name)
        await self._client.configure_stream(name, "queue", last_sample=False, max_samples=_MOST_WAITING)
        try:
            while True:
                try:
                    for sample in await self._client.get_samples(name, block=True, max_samples=_MOST_IN_A_ROW):
                        await self._publish(subject, sample)
                except SourceFailedError as error:
                    missing = {"timestamp": None, "sequence": None, "data": None}
                    await self._send(subject, dumps({**missing, "error": fault_json(error)}))
                except (ClosedError, UnknownStreamError):
                    return
                except TransportError:
                    await asyncio.sleep(_AGAIN_S)  # The server is away, and is expected back.
                except OneLinerError as error:
                    _log.warning("stream %s: %s", name, error)
                    await asyncio.sleep(_AGAIN_S)
                # Others have their turn, and fast samples come together: waking up costs more than one of them.
                await asyncio.sleep(_GATHER_S)
        finally:
            try:
                self._client.unconfigure_stream(name)
            except OneLinerError:
                pass  # The client was closed before.

    async def _publish(self, subject: str, sample: Sample) -> None:
        # What nobody gets is not written either: of a camera, that alone would keep the event loop from all else.
        if self._broker is not None and not self._broker.is_connected:
            self._miss(subject, "the broker is away")
        elif self._broker is not None and (least := _least_bytes(sample.data)) > self._broker.max_payload:
            self._refuse(subject, least)
        else:
            content = {"timestamp": sample.wall_time, "sequence": sample.sequence, "data": sample.data}
            payload = await _written(content)
            await self._send(subject, payload)

    async def _send(self, subject: str, payload: bytes) -> None:
        broker = self._broker
        assert broker is not None
        try:
            # While it is away, the client would keep what fits for later, and samples of then are worth little.
            if not broker.is_connected:
                raise BrokerLostError("the broker is away")
            await broker.publish(subject, payload)
            self._published += 1
        except MaxPayloadError:
            self._refuse(subject, len(payload))
        except (BrokerLostError, NatsError, OSError) as error:
            self._miss(subject, error)

    def _refuse(self, subject: str, size: int) -> None:
        self._unsent += 1
        if subject not in self._too_large:
            self._too_large.add(subject)
            _log.warning("%s: at least %d bytes are more than the broker takes (max_payload)", subject, size)

    def _miss(self, subject: str, why: object) -> None:
        self._unsent += 1
        self._missed += 1
        _log.debug("%s: %s", subject, why)

    # --- calls -------------------------------------------------------------------------------------------------------

    async def _on_call(self, message: Msg) -> None:
        # Not here: the next message is handed in when this returns.
        if not message.reply:
            _log.info("a call of %s that nobody awaits the answer of does not run", message.subject)
        elif len(self._running) >= MAX_CALLS:
            await self._reply(message, {"error": fault_json(BusyError(f"{MAX_CALLS} calls are under way"))})
        else:
            task = in_background(self._answer(message), f"one_liner bridge {message.subject}")
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _on_describe(self, message: Msg) -> None:
        try:
            answer = {"result": (await self._client.describe()).as_dict()}
        except OneLinerError as error:
            answer = {"error": fault_json(error)}
        await self._reply(message, answer)

    async def _answer(self, message: Msg) -> None:
        answer: dict[str, Any]
        try:
            result = await self._call(message)
        except OneLinerError as error:
            answer = {"error": fault_json(error)}
        except Exception as error:
            # Who has asked waits for an answer.
            _log.exception("the call of %s ended by an error in the bridge", message.subject)
            answer = {"error": fault_json(RemoteError(f"in the bridge: {error!r}"))}
        else:
            answer = {"result": result, "result_type": type(result).__name__}
        await self._reply(message, answer)

    async def _call(self, message: Msg) -> Any:
        obj_name, attr_name = self.subjects.called(message.subject)
        if ALL not in self._calls and obj_name.partition(".")[0] not in self._calls:
            raise NotExposedError(f"{obj_name!r} is not among the objects that this bridge lets be called")
        args, kwargs = _arguments(message.data)
        return await self._client.call(obj_name, attr_name, args, kwargs)

    async def _reply(self, message: Msg, answer: dict[str, Any]) -> None:
        try:
            await message.respond(await _written(answer))
        except (NatsError, OSError) as error:
            _log.warning("the answer to %s could not be given: %s", message.subject, error)
        else:
            self._answered += 1


async def _written(content: dict[str, Any]) -> bytes:
    if not is_large(content):
        return dumps(content)
    return await asyncio.to_thread(lambda: b"".join(json_pieces(content)))


def _least_bytes(data: Any) -> int:
    """How large something is as JSON at least, as far as that can be known without writing it."""
    if isinstance(data, np.ndarray):
        return 2 * data.size  # A digit and a comma each.
    return len(data) if isinstance(data, bytes | str) else 0


def _arguments(data: bytes) -> tuple[list[Any], dict[str, Any]]:
    try:
        given = json.loads(data) if data else []
    except (ValueError, RecursionError):
        raise BadArgumentsError("the arguments are no JSON, or nested without an end") from None
    if isinstance(given, dict):
        return [], given
    if isinstance(given, list):
        return given, {}
    raise BadArgumentsError("arguments are a JSON object, by name, or a list, by position")
