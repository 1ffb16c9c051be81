"""Samples as they leave: as JSON, as binary frames, as pictures."""

from __future__ import annotations

import io
import json
import struct
from typing import Any

import numpy as np
from PIL import Image

from one_liner.aio import Sample
from one_liner.errors import NotCarriableError
from one_liner.gateway.json_values import dumps
from one_liner.gateway.pieces import json_text

_LENGTH = struct.Struct("<I")
_FORMATS = {"png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg"}


def sample_head(name: str, sample: Sample) -> dict[str, Any]:
    """What is known of a sample beside its value; `timestamp` in s since 1970."""
    head: dict[str, Any] = {"stream": name, "timestamp": sample.wall_time, "sequence": sample.sequence}
    if isinstance(sample.data, np.ndarray):
        head |= {"shape": list(sample.data.shape), "dtype": str(sample.data.dtype)}
    return head


def sample_content(name: str, sample: Sample) -> dict[str, Any]:
    """What JSON tells of a sample: its head, and `value`."""
    return {**sample_head(name, sample), "value": sample.data}


def sample_json(name: str, sample: Sample) -> str:
    """A sample as JSON; on a thread if it is large."""
    return json_text(sample_content(name, sample))


def binary_frame(head: dict[str, Any], data: Any) -> bytes:
    """A sample as one binary frame: the length of the head (4 bytes, little-endian), the head as JSON, the content.

    The content of an array is its numbers in C order, in the byte order that `dtype` in the head says; `shape` is
    there, too. Bytes are as they are, with `dtype` "bytes"; all else is JSON, with `dtype` "json". The head is filled
    with spaces until the content begins at a multiple of 8 bytes, as a browser's typed arrays want it.
    """
    if isinstance(data, np.ndarray) and not data.dtype.hasobject:
        # Structured types have no short name that tells all.
        dtype: Any = data.dtype.str if data.dtype.names is None else data.dtype.descr
        # As bytes, because of instants there is no memoryview.
        numbers = np.ascontiguousarray(data).reshape(-1).view(np.uint8) if data.nbytes else np.empty(0, np.uint8)
        head, content = {**head, "shape": list(data.shape), "dtype": dtype}, memoryview(numbers.data)
    elif isinstance(data, bytes | bytearray | memoryview):
        head, content = {**head, "dtype": "bytes"}, memoryview(data)
    else:
        head, content = {**head, "dtype": "json"}, memoryview(dumps(data))
    text = json.dumps(head, separators=(",", ":")).encode()
    text += b" " * (-(_LENGTH.size + len(text)) % 8)
    return b"".join((_LENGTH.pack(len(text)), text, content))


def read_binary_frame(frame: bytes) -> tuple[dict[str, Any], Any]:
    """The head and the value of a `binary_frame`.

    Raises:
        ValueError: it is none.
    """
    (length,) = _LENGTH.unpack_from(frame)
    start = _LENGTH.size + length
    head: dict[str, Any] = json.loads(frame[_LENGTH.size : start])
    content = memoryview(frame)[start:]
    dtype = head["dtype"]
    if dtype == "json":
        return head, json.loads(bytes(content))
    if dtype == "bytes":
        return head, bytes(content)
    described = np.dtype(dtype if isinstance(dtype, str) else [tuple(field) for field in dtype])
    return head, np.frombuffer(content, described).reshape(head["shape"])


def media_type(extension: str) -> str | None:
    """That of a picture; None for what is none."""
    return _FORMATS.get(extension)


def picture(data: Any, extension: str) -> bytes:
    """An array of two dimensions, or of three with 3 or 4 colours, as a picture.

    Numbers of more than 8 bits are stretched from their least to their greatest; 16 bits stay 16 bits as PNG.

    Raises:
        NotCarriableError: it is no image.
    """
    try:
        array = np.asarray(data)
    except ValueError as error:  # Rows of different lengths.
        raise NotCarriableError(f"a {type(data).__name__} of this form is no image: {error}") from None
    grey = array.ndim == 2
    if not (grey or (array.ndim == 3 and array.shape[2] in (3, 4))) or array.dtype.kind not in "biuf" or not array.size:
        raise NotCarriableError(f"an array of shape {array.shape} and type {array.dtype} is no image")
    is_png = extension == "png"
    if array.dtype == np.uint16 and grey and is_png:
        image = Image.fromarray(np.ascontiguousarray(array.astype("<u2")))
    else:
        image = Image.fromarray(np.ascontiguousarray(_eight_bits(array)))
        if not is_png and image.mode == "RGBA":
            image = image.convert("RGB")
    file = io.BytesIO()
    try:
        if is_png:
            image.save(file, "PNG", compress_level=1)
        else:
            image.save(file, "JPEG", quality=85)
    except OSError:  # JPEG has at most 65 500 pixels in a row.
        raise NotCarriableError(
            f"an array of shape {array.shape} is too large for a picture of type {extension}"
        ) from None
    return file.getvalue()


def _eight_bits(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if array.dtype == np.uint8:
        return np.asarray(array)
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * 255
    numbers = np.nan_to_num(array.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(numbers.min()), float(numbers.max())
    scale = 255.0 / (high - low) if high > low else 0.0
    return np.asarray((numbers - low) * scale).astype(np.uint8)
