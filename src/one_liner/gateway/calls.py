"""A call on its way from HTTP to an instrument and back: how long it may take, and arrays that go by index.

An argument `{"$array": 3}` (in a query `$array:3`) stands for the stored array 3. Where the result is to be stored,
each array in it becomes the same.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from one_liner.errors import BadArgumentsError, OneLinerError
from one_liner.gateway.access import Role, check_role
from one_liner.gateway.arrays import ArrayStore
from one_liner.gateway.gateway import Gateway
from one_liner.gateway.head import check_may_act, only_looks
from one_liner.gateway.pieces import json_response
from one_liner.gateway.rigs import Rig

ARRAY = "$array"
STORE = "$store"
RESPONSES: dict[int | str, dict[str, Any]] = {
    401: {"description": "A token is needed"},
    403: {"description": "The token is not for this"},
    404: {"description": "No such object or command"},
    409: {"description": "Busy, or reserved by somebody"},
    422: {"description": "Wrong arguments; it was not called"},
    500: {"description": "The instrument raised this"},
    503: {"description": "The instrument's server is away"},
    504: {"description": "No answer in time"},
}
"""What the answer to a call may be, for OpenAPI."""

_TIMEOUT_HEADER, _BUSY_HEADER = "x-timeout-s", "x-if-busy"


class Target(NamedTuple):
    """What is called.

    Attributes:
        rig: at which server.
        obj_name: the object; "" for a named call.
        attr_name: its method or property, or the named call.
    """

    rig: Rig
    obj_name: str
    attr_name: str


async def make_call(
    gateway: Gateway, request: Request, target: Target, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Any:
    """Call, and give the result; raises what `AsyncRouterClient.call` does.

    The header `X-Timeout-S` says how long it may take, `X-If-Busy: refuse` that it is not to wait for its object, and
    `?$store=1` that arrays in the result are stored.
    """
    to_be_stored = request.scope["query_string"] and request.query_params.get(STORE, "0") not in ("0", "", "false")
    if to_be_stored:
        check_role(request, Role.CONTROL)
        check_may_act(request)
    gateway.calls += 1
    try:
        given = await with_arrays([list(args), dict(kwargs)], gateway.arrays)
        timeout_s = _timeout_of(request, gateway.settings.timeout_s)
        client = target.rig.client
        if_busy: Any = "refuse" if request.headers.get(_BUSY_HEADER) == "refuse" else None
        if target.obj_name:
            result = await client.call(target.obj_name, target.attr_name, *given, timeout_s=timeout_s, if_busy=if_busy)
        else:
            result = await client.call_by_name(target.attr_name, *given, timeout_s=timeout_s, if_busy=if_busy)
    except OneLinerError:
        gateway.failed_calls += 1
        raise
    if to_be_stored:
        return await asyncio.to_thread(_stored, result, gateway.arrays)
    return result


async def set_property(gateway: Gateway, request: Request, target: Target, value: Any) -> None:
    """Set a property; raises what `AsyncRouterClient.set` does."""
    gateway.calls += 1
    try:
        (value,) = await with_arrays([value], gateway.arrays)
        timeout_s = _timeout_of(request, gateway.settings.timeout_s)
        await target.rig.client.set(target.obj_name, target.attr_name, value, timeout_s=timeout_s)
    except OneLinerError:
        gateway.failed_calls += 1
        raise


async def is_property(target: Target) -> bool:
    """Whether it is one, and no method."""
    if not target.obj_name:
        return False
    return hasattr((await target.rig.object(target.obj_name)).find(target.attr_name), "writable")


async def role_needed(target: Target, acts: bool = False) -> Role:
    """What somebody has to be for this call: to read a property, or what is declared read-only, is for everybody."""
    if acts or not target.obj_name:
        return Role.CONTROL
    found = (await target.rig.object(target.obj_name)).find(target.attr_name)
    reads = found is not None and getattr(found, "read_only", hasattr(found, "readable"))
    return Role.READ if reads else Role.CONTROL


async def check_call(gateway: Gateway, request: Request, target: Target, acts: bool = False) -> None:
    """Refuse who may not do that, and pages of other sites that have a browser do more than read.

    Raises:
        HTTPException: 401 or 403.
    """
    foreign = request.headers.get("sec-fetch-site") == "cross-site"
    if gateway.access.open and not foreign:
        return
    needed = await role_needed(target, acts)
    check_role(request, needed)
    if foreign and needed > Role.READ:
        raise HTTPException(403, "a page of another site may only read")


async def check_only_looks(request: Request, target: Target) -> None:
    """Refuse a request by HEAD for what does more than read.

    Raises:
        HTTPException: 405.
    """
    if only_looks(request) and await role_needed(target) > Role.READ:
        check_may_act(request)


async def answer(command: str, value: Any) -> Response:
    """`{"message": command, "value": result}`."""
    return await json_response({"message": command, "value": value})


async def body_arguments(request: Request) -> tuple[list[Any], dict[str, Any]]:
    """Arguments from a JSON body: an object by name, a list by position, or both as `{"args": […], "kwargs": {…}}`.

    Raises:
        BadArgumentsError: it is something else.
    """
    body = await request.body()
    if not body.strip():
        return [], {}
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadArgumentsError(f"the body is no JSON: {error}") from None
    if isinstance(content, list):
        return content, {}
    if not isinstance(content, dict):
        return [content], {}
    if content and set(content) <= {"args", "kwargs"}:
        args, kwargs = content.get("args", []), content.get("kwargs", {})
        if isinstance(args, list) and isinstance(kwargs, dict):
            return args, kwargs
    return [], content


def _timeout_of(request: Request, default: float | None) -> float | None:
    text = request.headers.get(_TIMEOUT_HEADER)
    if text is None:
        return default
    try:
        timeout_s = float(text)
    except ValueError:
        timeout_s = math.nan
    if not 0 < timeout_s < math.inf:
        raise BadArgumentsError(f"{_TIMEOUT_HEADER} is a number of seconds above 0, not {text!r}")
    return timeout_s


async def with_arrays(value: list[Any], arrays: ArrayStore) -> list[Any]:
    """Arguments with the arrays that they name.

    Raises:
        BadArgumentsError: they are nested more deeply than can be looked through.
    """
    try:
        if not _mentions_array(value):
            return value
    except RecursionError:
        raise BadArgumentsError("the arguments are nested too deeply") from None
    replaced: list[Any] = await asyncio.to_thread(_replaced, value, arrays)
    return replaced


def _mentions_array(value: Any) -> bool:
    if isinstance(value, dict):
        return ARRAY in value or any(map(_mentions_array, value.values()))
    return isinstance(value, list | tuple) and any(map(_mentions_array, value))


def _replaced(value: Any, arrays: ArrayStore) -> Any:
    if isinstance(value, dict):
        if set(value) == {ARRAY} and type(value[ARRAY]) is int:
            return arrays.get(value[ARRAY])
        return {key: _replaced(item, arrays) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_replaced(item, arrays) for item in value)
    return value


def _stored(value: Any, arrays: ArrayStore) -> Any:
    if isinstance(value, np.ndarray):
        info = arrays.add(value.copy())
        return {ARRAY: info.number, "shape": list(info.shape), "dtype": info.dtype}
    if isinstance(value, dict):
        return {key: _stored(item, arrays) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_stored(item, arrays) for item in value]
    return value
