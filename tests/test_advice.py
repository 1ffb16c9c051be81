"""What is said about a value that cannot be carried has to help."""

from __future__ import annotations

import asyncio
import io
import math
import socket
import threading
from array import array
from collections import ChainMap, Counter, OrderedDict, defaultdict, deque, namedtuple
from enum import IntEnum
from functools import partial
from typing import Any

import pytest

from one_liner.client import RouterClient
from one_liner.errors import NotCarriableError
from one_liner.wire.advice import advice
from one_liner.wire.codec import Codec

CODEC = Codec()
HERE = "it lives in this process only; serve the object that uses it, and call that"
CODE = "only data travels; serve it as an object, and call it there"
LIST = "make a list of it"
REGISTER = "register it with one_liner.register_type on both ends"
Pair = namedtuple("Pair", "x y")


class Mode(IntEnum):
    SLOW = 1


class Mine:
    pass


async def later() -> None:
    pass


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (type(threading.Lock()), HERE),
        (threading.Event, HERE),
        (io.BytesIO, HERE),
        (io.TextIOWrapper, HERE),
        (socket.socket, HERE),
        (asyncio.Queue, HERE),
        (type(later), CODE),
        (type(math.sin), CODE),
        (type(math), CODE),
        (type, CODE),
        (type(CODEC.encode), CODE),
        (partial, CODE),
        (type(iter([])), LIST),
        (type(x for x in ()), LIST),
        (map, LIST),
        (type({}.keys()), LIST),
        (type({}.values()), LIST),
        (deque, LIST),
        (array, LIST),
        (ValueError, "raise it, or send its text"),
        (Mine, REGISTER),
        (ChainMap, REGISTER),
    ],
    ids=lambda one: getattr(one, "__name__", "…"),
)
def test_advice_fits_the_kind(kind: type, text: str) -> None:
    assert advice(kind) == text


def test_it_ends_the_error() -> None:
    with pytest.raises(NotCarriableError) as caught:
        CODEC.encode({"lock": [threading.Lock()]})
    assert str(caught.value) == f'result["lock"][0]: <_thread.lock> cannot be carried; {HERE}'


def test_a_coroutine_was_not_awaited() -> None:
    coroutine = later()
    with pytest.raises(NotCarriableError, match="it has to be awaited first"):
        CODEC.encode(coroutine)
    coroutine.close()


def test_a_proxy_stands_for_its_object() -> None:
    with RouterClient(rpc_port=1) as client, pytest.raises(NotCarriableError, match="send the name of that"):
        CODEC.encode(client.proxy("laser"))


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (OrderedDict(b=1, a=2), OrderedDict),
        (Counter("aab"), Counter),
        (Mode.SLOW, Mode),
        # What these have beside their items, a function and names, is no data: they arrive equal, as the plain kind.
        (defaultdict(list, {"a": [1]}), dict),
        (Pair(1, 2), tuple),
    ],
)
def test_kinds_of_containers(value: Any, kind: type) -> None:
    body, buffers = CODEC.encode(value)
    arrived = CODEC.decode(body, buffers)
    assert type(arrived) is kind
    assert arrived == value
    assert repr(arrived) == repr(kind(value)), "in the same order"
