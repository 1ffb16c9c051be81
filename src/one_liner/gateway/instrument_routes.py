"""`/instrument/…`: the short way to a command, as a browser's address bar or `curl` has it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, FastAPI, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from one_liner.errors import UnknownObjectError
from one_liner.gateway.access import Role, check_role
from one_liner.gateway.calls import (
    RESPONSES,
    Target,
    answer,
    body_arguments,
    check_call,
    check_only_looks,
    is_property,
    make_call,
    set_property,
)
from one_liner.gateway.gateway import Gateway, gateway_of
from one_liner.gateway.words import checked, query_words

_PATH = {
    "parameters": [
        {
            "name": "path",
            "in": "path",
            "required": True,
            "description": "The object, if there are several, and its command",
            "schema": {"type": "string"},
        }
    ]
}
"""Told here and not by a parameter of the handlers: any text will do, and checking that it is text costs time."""


def instrument_router() -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["instrument"], responses=RESPONSES)

    @router.get("/instrument/{path:path}", openapi_extra=_PATH)
    async def get_command(request: Request) -> Response:
        """Call a command, or read a property: `/instrument/laser/set_power?power_mw=5`, `/instrument/laser/power_mw`.

        Arguments stand in the query, by name; values are JSON where they are JSON. The object may be left out where
        there is one.
        """
        return await _get(request)

    @router.post("/instrument/{path:path}", openapi_extra=_PATH)
    async def post_command(request: Request) -> Response:
        """The same with arguments in a JSON body: an object by name, a list by position.

        `{"value": …}` sets a property.
        """
        gateway = _admitted(request)
        args, kwargs = await body_arguments(request)
        if set(kwargs) == {"value"} and not args:
            target = await _target(gateway, request.path_params["path"])
            if await is_property(target):
                await check_call(gateway, request, target, acts=True)
                await set_property(gateway, request, target, kwargs["value"])
                return await answer(target.attr_name, kwargs["value"])
        return await _command(gateway, request, args, kwargs)

    return router


def add_instrument_routes(app: FastAPI) -> None:
    """Add the routes to an application, with a short way to the one that is asked most.

    It is tried first, and does the same as the one that OpenAPI tells of. What FastAPI does for a route, this one does
    not need: it has no dependencies, nothing of it is checked, and its answer is ready to be sent.
    """
    app.router.routes.insert(0, Route("/instrument/{path:path}", _ShortWay(), methods=["GET"], include_in_schema=False))
    app.include_router(instrument_router())


class _ShortWay:
    """`GET /instrument/…`, as ASGI has it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await _get(Request(scope, receive, send))
        await response(scope, receive, send)


def _admitted(request: Request) -> Gateway:
    """The gateway, for who shows a token that is known: the others are not told what there is not."""
    gateway = gateway_of(request)
    if not gateway.access.open:
        check_role(request, Role.READ)
    return gateway


async def _get(request: Request) -> Response:
    gateway = _admitted(request)
    args, kwargs = query_words(gateway, request) if request.scope["query_string"] else ([], {})
    return await _command(gateway, request, args, kwargs)


async def _command(gateway: Gateway, request: Request, args: list[Any], kwargs: dict[str, Any]) -> Response:
    target = await _target(gateway, request.path_params["path"])
    args, kwargs = checked(target, args, kwargs) if args or kwargs else (args, kwargs)
    await check_only_looks(request, target)
    await check_call(gateway, request, target, acts=bool(args or kwargs) and request.method == "POST")
    return await answer(target.attr_name, await make_call(gateway, request, target, args, kwargs))


async def _target(gateway: Gateway, path: str) -> Target:
    if not path.isprintable():
        raise UnknownObjectError(f"nothing of this name is served: {path!r}")
    obj_name, _, command = path.rpartition("/")
    if obj_name:
        rig, name = await gateway.rigs.locate(obj_name)
        return Target(rig, name, command)
    rig_of_call = gateway.rigs.with_named_call(command)
    if rig_of_call is not None:
        return Target(rig_of_call, "", command)
    return Target(*await gateway.rigs.sole_object(command), command)
