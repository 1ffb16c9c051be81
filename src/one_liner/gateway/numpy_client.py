"""`NumpyClient`: a gateway from Python, where only HTTP gets through."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Event, current_thread
from typing import Any
from urllib.parse import urlencode, urlsplit
from weakref import WeakSet

import httpx
import numpy as np
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.sync.client import ClientConnection, connect

from one_liner.background import BackgroundThread
from one_liner.closing import Closing
from one_liner.errors import (
    BadArgumentsError,
    CallError,
    ClosedError,
    ConfigurationError,
    LimitError,
    NoServerError,
    OneLinerError,
    RefusedError,
    UnknownObjectError,
)
from one_liner.gateway.arrays import npy_bytes
from one_liner.gateway.frames import read_binary_frame

Array = np.ndarray[Any, Any]
_ERRORS: dict[int, type[OneLinerError]] = {
    400: BadArgumentsError,
    401: RefusedError,
    403: RefusedError,
    404: UnknownObjectError,
    413: LimitError,
    422: BadArgumentsError,
    429: LimitError,
    503: NoServerError,
    507: LimitError,
}
_REFUSED = (1008, 1013)
"""The codes of a WebSocket that was accepted and closed."""


class NumpyClient(Closing):
    """Arrays, and a stream of them, over HTTP. May be used from several threads at once.

    Args:
        url: of the gateway.
        token: where it asks for one.
        timeout_s: how long to wait for an answer.

    Raises:
        ConfigurationError: this is no address of HTTP.
    """

    def __init__(
        self, url: str = "http://localhost:8000", *, token: str | None = None, timeout_s: float = 30.0
    ) -> None:
        if urlsplit(url).scheme not in ("http", "https"):
            raise ConfigurationError(f"the address of a gateway begins with http:// or https://, unlike {url!r}")
        self.url = url.rstrip("/")
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._http = httpx.Client(base_url=self.url, headers=self._headers, timeout=timeout_s)
        self._streams: WeakSet[StreamConnection] = WeakSet()  # Its thread keeps each for as long as it lasts.

    def close(self) -> None:
        """Close all connections."""
        for stream in tuple(self._streams):
            stream.close()
        self._http.close()

    def health(self) -> dict[str, Any]:
        """How the gateway is: `status`, `streaming`, `connections`, `arrays_stored`, `servers`, …

        Raises:
            NoServerError: nobody answers there.
        """
        return self._json("GET", "/health")

    def upload_numpy_array(self, array: Any, filename: str = "array.npy") -> dict[str, Any]:
        """Store an array at the gateway; gives its `index`, `shape` and `dtype`.

        Raises:
            BadArgumentsError: it is no array of numbers or text.
            LimitError: it is too large, or there is no room for it.
        """
        try:
            content = npy_bytes(np.asarray(array))
        except ValueError as error:
            raise BadArgumentsError(f"this array cannot be uploaded: {error}") from None
        return self._json("POST", "/upload", files={"file": (filename, content, "application/octet-stream")})

    def upload_file(self, path: str | Path) -> dict[str, Any]:
        """Store the array of a `.npy` file at the gateway, without reading it here."""
        with Path(path).open("rb") as file:
            return self._json("POST", "/upload", files={"file": (Path(path).name, file, "application/octet-stream")})

    def list_arrays(self) -> dict[str, Any]:
        """What is stored: `count`, and `arrays` with `index`, `shape` and `dtype` of each."""
        return self._json("GET", "/arrays")

    def get_array(self, index: int) -> Array:
        """A stored array, as it was.

        Raises:
            UnknownObjectError: there is none of this index.
        """
        content = self._ask("GET", f"/array/{int(index)}.npy").content
        array: Array = np.load(io.BytesIO(content), allow_pickle=False)
        return array

    def start_streaming(self) -> dict[str, Any]:
        """Have the gateway send data to all who are connected."""
        return self._json("POST", "/control/start")

    def stop_streaming(self) -> dict[str, Any]:
        """Have it send none."""
        return self._json("POST", "/control/stop")

    def connect_streaming(
        self,
        on_data: Callable[[dict[str, Any]], Any],
        auto_start: bool = True,
        *,
        streams: list[str] | None = None,
        rate_hz: float | None = None,
        binary: bool = False,
    ) -> StreamConnection:
        """Have a function called with each message of data, on a thread of its own.

        Args:
            on_data: gets `{"type": "data", "timestamp", "shape", "dtype", "x", "y"}`; with `binary`, `y` is an array.
            auto_start: switch the data on, for all who are connected.
            streams: which; what the gateway shows by default if None.
            rate_hz: how often.
            binary: have the numbers as they are, and not as text.

        Returns:
            The connection: `wait()` for its end, or `close()` it. That the gateway does not want us is said there.

        Raises:
            NoServerError: nobody answers there, or somebody else than a gateway.
            RefusedError: who stands in front of the gateway does not want us.
        """
        query = [("stream", name) for name in streams or ()]
        query += [] if rate_hz is None else [("rate_hz", str(rate_hz))]
        query += [("format", "binary")] if binary else []
        address = f"ws{self.url.removeprefix('http')}/ws/stream?{urlencode(query)}"
        stack = ExitStack()
        try:
            socket = stack.enter_context(
                connect(address, additional_headers=self._headers, max_size=None, compression=None)
            )
        except InvalidStatus as error:
            status = error.response.status_code
            raise _ERRORS.get(status, NoServerError)(f"no gateway answers at {address}: HTTP {status}") from None
        except (OSError, WebSocketException) as error:
            raise NoServerError(f"no gateway answers at {address}: {error}") from None
        stream = StreamConnection(stack, socket, on_data, auto_start)
        self._streams.add(stream)
        return stream

    def _json(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        content: dict[str, Any] = self._ask(method, path, **options).json()
        return content

    def _ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, path, **options)
        except httpx.TransportError as error:
            raise NoServerError(f"no answer from {self.url}: {error}") from None
        if answer.is_success:
            return answer
        try:
            message = str(answer.json()["message"])
        except (ValueError, KeyError, TypeError):
            message = answer.text[:500]
        raise _ERRORS.get(answer.status_code, CallError)(f"{message} (HTTP {answer.status_code})")


class StreamConnection(Closing):
    """A connection to `/ws/stream`, read by a thread of its own. Made by `NumpyClient.connect_streaming`.

    Attributes:
        received: how many messages of data came.
        error: what the function raised, or why the connection broke; None while all is well.
        problem: what the gateway last said is wrong, such as a sensor that fails; "" for nothing.
    """

    def __init__(
        self, stack: ExitStack, socket: ClientConnection, on_data: Callable[[dict[str, Any]], Any], auto_start: bool
    ) -> None:
        self._stack, self._socket, self._on_data = stack, socket, on_data
        self._ended = Event()
        self.received = 0
        self.error: Exception | None = None
        self.problem = ""
        if auto_start:
            with suppress(ConnectionClosed):  # The thread that reads is told why.
                socket.send(json.dumps({"action": "start"}))
        self._thread = BackgroundThread(self._run, "stream of a gateway")
        self._thread.start()

    @property
    def closed(self) -> bool:
        """Whether nothing more will come."""
        return self._ended.is_set()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the end; False if it did not come in time.

        Raises:
            RefusedError: the gateway does not want us, or not what was asked for.
            ClosedError: the gateway went away.
            Exception: what the function raised.
        """
        ended = self._ended.wait(timeout_s)
        if self.error is not None:
            raise self.error
        return ended

    def close(self) -> None:
        """Receive no more."""
        self._ended.set()
        self._socket.close()
        if self._thread is not current_thread():
            self._thread.join(5.0)

    def _run(self) -> None:
        try:
            for content in self._socket:
                message = _read(content)
                if message.get("type") == "data":
                    self.received += 1
                    self._on_data(message)
                elif message.get("type") == "error":
                    self.problem = str(message.get("message", ""))
            # The gateway has closed it in good order.
        except ConnectionClosed as closed:
            if not self._ended.is_set():
                self.error = _why(closed)
        except Exception as error:
            self.error = error
        finally:
            self._ended.set()
            self._stack.close()


def _why(closed: ConnectionClosed) -> OneLinerError:
    if closed.rcvd is not None and closed.rcvd.code in _REFUSED:
        return RefusedError(f"the gateway refused the connection: {closed.rcvd.reason}")
    return ClosedError(f"the gateway closed the connection: {closed}")


def _read(content: str | bytes) -> dict[str, Any]:
    if isinstance(content, bytes):
        head, value = read_binary_frame(content)
        return {**head, "y": value}
    message: dict[str, Any] = json.loads(content)
    return message
