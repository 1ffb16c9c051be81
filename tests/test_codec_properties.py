"""Whatever can be carried comes back as it was; whatever bytes arrive are a value or malformed."""

from __future__ import annotations

import datetime as dt
import pathlib
from collections import Counter, OrderedDict
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fuzz.sameness import same
from one_liner.errors import MalformedError, MissingExtraError
from one_liner.wire.codec import Codec
from tests.test_codec import HOSTILE, SCALARS

CODEC = Codec()
BOUNDED = settings(
    max_examples=300,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)

ZONES = st.none() | st.timezones() | st.timedeltas(dt.timedelta(hours=-23), dt.timedelta(hours=23)).map(dt.timezone)
SCALAR_DTYPES = hnp.scalar_dtypes() | hnp.byte_string_dtypes() | hnp.unicode_string_dtypes() | hnp.datetime64_dtypes()
DTYPES = SCALAR_DTYPES | hnp.array_dtypes(SCALAR_DTYPES) | hnp.nested_dtypes(SCALAR_DTYPES, max_leaves=5)
ARRAYS = hnp.arrays(DTYPES, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)).flatmap(
    lambda array: st.sampled_from([array, array.T, array[..., ::-1] if array.ndim else array])
)
NUMPY_SCALARS = hnp.arrays(SCALAR_DTYPES, 1).map(lambda array: array[0])
HASHABLE = st.recursive(
    st.sampled_from(SCALARS)
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()))
    | st.binary()
    | st.complex_numbers()
    | st.decimals(allow_nan=False)
    | st.fractions()
    | st.uuids()
    | st.dates()
    | st.times(timezones=ZONES)
    | st.datetimes(timezones=ZONES, allow_imaginary=False)
    | st.timedeltas()
    | st.ip_addresses()
    | st.text(st.characters(exclude_characters="\0")).map(pathlib.PurePosixPath)
    | st.text(st.characters(exclude_characters="\0")).map(pathlib.PureWindowsPath),
    lambda inner: st.lists(inner, max_size=4).map(tuple) | st.frozensets(inner, max_size=4),
    max_leaves=6,
)
VALUES = st.recursive(
    HASHABLE | ARRAYS | NUMPY_SCALARS | st.binary().map(bytearray),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(HASHABLE, inner, max_size=4)
        | st.dictionaries(HASHABLE, inner, max_size=4).map(OrderedDict)
        | st.sets(HASHABLE, max_size=4)
        | st.dictionaries(HASHABLE, st.integers(), max_size=4).map(Counter)
        | st.builds(slice, inner, inner, inner)
    ),
    max_leaves=12,
)


@BOUNDED
@given(VALUES)
def test_any_value_comes_back_equal_and_of_the_same_type(value):
    body, buffers = CODEC.encode(value)
    assert same(CODEC.decode(body, buffers), value)
    assert same(CODEC.decode(memoryview(body), [bytearray(buffer) for buffer in buffers]), value)


@settings(BOUNDED, max_examples=60)
@given(ARRAYS, st.sampled_from([1, 100, 5000]))
def test_an_array_comes_back_whatever_its_size(array, times):
    large = np.broadcast_to(array, (times, *array.shape)).copy()
    assert same(CODEC.decode(*CODEC.encode([large]))[0], large)


def outcome(body: bytes, buffers: list[Any]) -> None:
    try:
        CODEC.decode(body, buffers)
    except (MalformedError, MissingExtraError):
        pass


@BOUNDED
@given(st.binary(max_size=200), st.lists(st.binary(max_size=20), max_size=2))
@example(b"\xd9", [])
def test_any_bytes_are_a_value_or_malformed(body, buffers):
    outcome(body, buffers)


@BOUNDED
@given(st.integers(-128, 127), st.binary(max_size=60), st.lists(st.binary(max_size=20), max_size=2))
def test_any_extension_is_a_value_or_malformed(code, content, buffers):
    outcome(bytes((0xC7, len(content), code & 0xFF)) + content, buffers)


PIECES = sorted({CODEC.encode(value)[0] for value in SCALARS} | set(HOSTILE.values()))


@BOUNDED
@given(st.data())
def test_a_damaged_message_is_a_value_or_malformed(data):
    whole = data.draw(VALUES.map(lambda value: CODEC.encode(value)[0]) | st.sampled_from(PIECES))
    body = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, max(len(body) - 1, 0)))
        kind = data.draw(st.sampled_from(["change", "cut", "drop", "insert"]))
        if kind == "cut":
            del body[place:]
        elif kind == "drop":
            del body[place : place + 1]
        elif kind == "insert":
            body[place:place] = data.draw(st.sampled_from(PIECES))[:300]
        elif body:
            body[place] = data.draw(st.integers(0, 255))
    outcome(bytes(body), [b"12345678", bytearray(8)])
