"""How the value of a sample becomes bytes, in the words that users give: "msgpack", "json", None, "pickle", a pair."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from one_liner.errors import ConfigurationError, MalformedError, NotCarriableError
from one_liner.frozen import Frozen
from one_liner.wire.codec import Codec
from one_liner.wire.extensions import Buffer
from one_liner.wire.messages import Encoding

_MSGPACK = int(Encoding.MSGPACK)
Dumps = Callable[[Any], Any]
Loads = Callable[[Any], Any]
SerializerWord = str | None | Dumps | tuple[Dumps, Loads]


class Serializer(Frozen):
    """What a stream's values are written with.

    Attributes:
        encoding: what its samples say of themselves.
        encode: gives body and large buffers, or raises what was wrong with the value.
        dumps: the user's own function, if it is one; two serializers with the same one are the same.
    """

    encoding: Encoding
    encode: Callable[[Any], tuple[Buffer, Sequence[Buffer]]]
    dumps: Dumps | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Serializer) and (self.encoding, self.dumps) == (other.encoding, other.dumps)

    def __hash__(self) -> int:
        return hash((self.encoding, self.dumps))


def serializer_of(word: Any, codec: Codec, *, allow_pickle: bool) -> Serializer:
    """The serializer that a user's word stands for.

    Args:
        word: "msgpack", "json", "pickle", None (bytes as they are), a function that gives bytes, or a pair of such a
            function and the one that reads them.
        codec: for msgpack.
        allow_pickle: whether this side was told to allow pickle.

    Raises:
        ConfigurationError: another word, or pickle where it is not allowed.
    """
    if word == "msgpack":
        return Serializer(Encoding.MSGPACK, codec.encode)
    if word == "json":
        return Serializer(Encoding.JSON, lambda value: _to_json(value, codec))
    if word is None:
        return Serializer(Encoding.RAW, _as_it_is)
    if word == "pickle":
        if not allow_pickle:
            raise ConfigurationError('serializer="pickle" needs allow_pickle=True on the server and on every reader')
        return Serializer(Encoding.PICKLE, _to_pickle)
    dumps = word[0] if isinstance(word, tuple) and len(word) == 2 else word
    if not callable(dumps):
        raise ConfigurationError(
            f'a serializer is "msgpack", "json", None, "pickle" or a pair of functions, not {word!r}'
        )
    return Serializer(Encoding.CUSTOM, lambda value: _as_it_is(dumps(value)), dumps)


def value_of(
    encoding: int, body: Buffer, buffers: Sequence[Buffer], codec: Codec, *, allow_pickle: bool, loads: Loads | None
) -> Any:
    """The value of a sample that is no failure.

    Args:
        encoding: how the body was made from it.
        body: its own.
        buffers: and what follows it.
        codec: for msgpack.
        allow_pickle: whether this side was told to allow pickle.
        loads: the reader's own function for bytes of a kind that only it knows.

    Raises:
        MalformedError: the body is not what it says it is, or pickled where that is not allowed.
    """
    if encoding == _MSGPACK:
        return codec.decode(body, buffers)
    if encoding == Encoding.FRAMES:
        return tuple(bytes(frame) for frame in (body, *buffers))
    if encoding in (Encoding.RAW, Encoding.CUSTOM):
        return bytes(body) if loads is None else _loaded(loads, bytes(body))
    if encoding == Encoding.JSON:
        return _from_json(bytes(body), codec)
    if encoding == Encoding.PICKLE:
        if not allow_pickle:
            raise MalformedError("a pickled sample was not read: allow_pickle=True has to be said on both ends")
        import pickle

        return pickle.loads(body)  # noqa: S301  # both ends were told to allow it
    raise MalformedError(f"a sample of the unknown encoding {encoding}")


def _from_json(text: bytes, codec: Codec) -> Any:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise MalformedError(f"a sample that should be JSON is not: {error}") from None
    except RecursionError:
        raise MalformedError(f"a sample of JSON is nested deeper than {codec.max_depth} levels") from None
    if _opens(text) > codec.max_depth:
        codec.check_depth(value)
    return value


def _opens(text: bytes) -> int:
    """How many containers a JSON text may open, at most."""
    return text.count(b"[") + text.count(b"{")


def _loaded(loads: Loads, data: bytes) -> Any:
    try:
        return loads(data)
    except Exception as error:
        raise MalformedError(f"the deserializer could not read a sample: {type(error).__name__}: {error}") from error


def _to_json(value: Any, codec: Codec) -> tuple[Buffer, Sequence[Buffer]]:
    try:
        text = json.dumps(value, separators=(",", ":")).encode()
        if _opens(text) > codec.max_depth:
            codec.check_depth(value)
    except (TypeError, ValueError, RecursionError, MalformedError) as error:
        raise NotCarriableError(
            f"not a value for JSON: {error}", path="result", type_name=type(value).__name__
        ) from None
    return text, ()


def _to_pickle(value: Any) -> tuple[Buffer, Sequence[Buffer]]:
    import pickle  # Only where it is allowed.

    return pickle.dumps(value), ()


def _as_it_is(value: Any) -> tuple[Buffer, Sequence[Buffer]]:
    try:
        view = memoryview(value)
    except TypeError:
        name = type(value).__qualname__
        raise NotCarriableError(f"result: <{name}> is not bytes", path="result", type_name=name) from None
    if isinstance(value, bytes):
        return value, ()
    # What is empty, or lies in memory in another order, cannot be looked at as plain bytes.
    return (view.cast("B") if view.c_contiguous and view.nbytes else view.tobytes()), ()
