"""`/api/objects/…` and `/api/calls/…`: a typed route for everything that is served, made from its description.

Properties and methods that only read are GET, all else is POST. When a server serves something else, its routes are
made anew. Before a server was seen for the first time it has none, and its names are answered with 503.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from inspect import Parameter, Signature
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request
from pydantic import BaseModel, ConfigDict, create_model
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from one_liner.aio import (
    MethodDescription,
    NamedCallDescription,
    ObjectDescription,
    PropertyDescription,
    ServerDescription,
)
from one_liner.errors import OneLinerError
from one_liner.gateway.access import Role, check_role, needs
from one_liner.gateway.annotations import type_of
from one_liner.gateway.arguments import Arguments, identifier
from one_liner.gateway.calls import RESPONSES, Target, answer, body_arguments, check_call, make_call, set_property
from one_liner.gateway.gateway import Gateway, gateway_of
from one_liner.gateway.job_routes import submit_job
from one_liner.gateway.json_values import JsonValueResponse
from one_liner.gateway.rigs import Rig

Endpoint = Callable[..., Awaitable[Response]]
_MAY_READ = [Depends(needs(Role.READ))]
"""Asked before the arguments are looked at: who may not read is told nothing of them."""


def add_object_routes(app: FastAPI, gateway: Gateway) -> None:
    """Have the routes of what is served made, and made anew when something else is."""
    made: list[BaseRoute] = []
    app.include_router(_overview_router())
    app.include_router(_unknown_router(made))
    unknown = app.router.routes[-1]

    def make() -> None:
        routes = ObjectRoutes(gateway)
        for rig in gateway.rigs.all():
            if rig.description is not None:
                routes.add_server(rig, rig.description)
        for route in made:
            app.router.routes.remove(route)
        made[:] = routes.router.routes
        # Routes are tried one after the other: behind the others, and in front of what answers for unknown names.
        at = app.router.routes.index(unknown)
        app.router.routes[at:at] = made
        app.openapi_schema = None

    gateway.rigs.on_change(make)


def _overview_router() -> APIRouter:
    router = APIRouter(prefix="/api", responses=RESPONSES)

    @router.get("/objects", tags=["objects"])
    async def objects(request: Request) -> Response:
        """What is served: by server its description, or why there is none."""
        check_role(request, Role.READ)
        rigs = gateway_of(request).rigs.all()
        return JsonValueResponse({rig.name or str(rig.address): await _described(rig) for rig in rigs})

    return router


def _unknown_router(made: Sequence[BaseRoute]) -> APIRouter:
    router = APIRouter(prefix="/api")

    async def unknown(request: Request, path: str) -> Response:
        check_role(request, Role.READ)
        unseen = [rig for rig in _meant(gateway_of(request).rigs.all(), path) if rig.description is None]
        for rig in unseen:
            await rig.described()  # Raises what the trouble is.
        if unseen:
            return _Again(request.app)
        verbs = _other_verbs(made, request.scope)
        if verbs:
            raise HTTPException(405, f"{path} is asked by {' or '.join(verbs)}", {"Allow": ", ".join(verbs)})
        raise HTTPException(404, f"nothing of this name is served: {path}")

    router.add_api_route("/{path:path}", unknown, methods=["GET", "POST"], include_in_schema=False)
    return router


def _other_verbs(made: Sequence[BaseRoute], scope: Scope) -> list[str]:
    """By which verbs something else than this request would be answered."""
    partly = [route for route in made if route.matches(scope)[0] is Match.PARTIAL]
    return sorted({verb for route in partly for verb in getattr(route, "methods", None) or ()})


def _meant(rigs: list[Rig], path: str) -> list[Rig]:
    """The rigs that a path such as `objects/rig2/laser/power` may lead to."""
    _, _, name = path.partition("/")
    named = [rig for rig in rigs if rig.name and name.startswith(f"{rig.name}/")]
    return named or [rig for rig in rigs if not rig.name]


class _Again(Response):
    """Has the request tried once more, now that there are routes for it."""

    def __init__(self, app: FastAPI) -> None:
        super().__init__()
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app.router({**scope, "path_params": {}}, receive, send)


async def _described(rig: Rig) -> dict[str, Any]:
    try:
        return (await rig.described()).as_dict()
    except OneLinerError as error:
        return {"state": str(rig.client.state), "message": str(error)}


class ObjectRoutes:
    """Routes made from descriptions.

    Args:
        gateway: whose they are.

    Attributes:
        router: holds them.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self.router = APIRouter(responses=RESPONSES)

    def add_server(self, rig: Rig, description: ServerDescription, prefix: str = "") -> None:
        """All that a server serves, and what is behind its routers."""
        for one in description.objects:
            self._add_object(rig, one, f"{prefix}{one.name}")
        for call in description.named_calls:
            self._add_named_call(Target(rig, "", f"{prefix}{call.name}"), call)
        for name, behind in description.routers.items():
            if isinstance(behind, ServerDescription):
                self.add_server(rig, behind, f"{prefix}{name}/")

    def _add_object(self, rig: Rig, described: ObjectDescription, name: str) -> None:
        full_name = self._gateway.rigs.full_name(rig, name)
        for prop in described.properties:
            self._add_property(Target(rig, name, prop.name), prop, full_name)
        for method in described.methods:
            self._add_method(Target(rig, name, method.name), method, full_name)
        if described.callable is not None:
            self._add_method(Target(rig, name, "__call__"), described.callable, full_name)
        for nested in described.objects:
            self._add_object(rig, nested, f"{name}.{nested.name}")

    def _add_property(self, target: Target, described: PropertyDescription, full_name: str) -> None:
        async def read(request: Request) -> Response:
            return await answer(target.attr_name, await make_call(gateway_of(request), request, target, [], {}))

        async def write(request: Request, body: Any) -> Response:
            await check_call(gateway_of(request), request, target, acts=True)
            await set_property(gateway_of(request), request, target, body.value)
            return await answer(target.attr_name, body.value)

        if described.readable:
            self._add("GET", full_name, described.name, described.doc, read)
        if described.writable:
            title = identifier("set", full_name, described.name)
            value: Any = (type_of(described.type), ...)
            model = create_model(title, __config__=ConfigDict(extra="forbid"), value=value)
            _give_signature(write, [Parameter("body", Parameter.KEYWORD_ONLY, annotation=model)])
            self._add("POST", full_name, described.name, described.doc, write)

    def _add_method(self, target: Target, described: MethodDescription, full_name: str) -> None:
        arguments = Arguments(described, identifier(full_name, target.attr_name))

        async def get(request: Request, **values: Any) -> Response:
            gateway = gateway_of(request)
            await check_call(gateway, request, target)
            kwargs = arguments.from_query(values, list(request.query_params))
            return await answer(target.attr_name, await make_call(gateway, request, target, [], kwargs))

        async def post(request: Request, body: BaseModel | None = None) -> Response:
            gateway = gateway_of(request)
            await check_call(gateway, request, target)
            args, kwargs = arguments.from_model(body)
            if described.is_command or _wants_job(request):
                return await submit_job(gateway, request, target, args, kwargs)
            return await answer(target.attr_name, await make_call(gateway, request, target, args, kwargs))

        if described.read_only and arguments.fit_a_query:
            _give_signature(get, arguments.query())
            self._add("GET", full_name, target.attr_name, described.doc, get)
            return
        _give_signature(post, _body(arguments))
        self._add("POST", full_name, target.attr_name, described.doc, post, 202 if described.is_command else 200)

    def _add_named_call(self, target: Target, described: NamedCallDescription) -> None:
        async def post(request: Request) -> Response:
            gateway = gateway_of(request)
            await check_call(gateway, request, target, acts=True)
            args, kwargs = await body_arguments(request)
            return await answer(target.attr_name, await make_call(gateway, request, target, args, kwargs))

        full_name = self._gateway.rigs.full_name(target.rig, target.attr_name)
        self.router.add_api_route(
            f"/api/calls/{_as_route(full_name)}",
            post,
            methods=["POST"],
            tags=["calls"],
            summary=str(described),
            operation_id=identifier("call", full_name),
            response_class=JsonValueResponse,
            dependencies=_MAY_READ,
        )

    def _add(
        self, verb: str, full_name: str, attr_name: str, doc: str, endpoint: Endpoint, status_code: int = 200
    ) -> None:
        self.router.add_api_route(
            f"/api/objects/{_as_route(full_name)}/{attr_name}",
            endpoint,
            methods=[verb],
            tags=[full_name],
            summary=doc.partition("\n")[0] or f"{full_name}.{attr_name}",
            description=doc,
            operation_id=identifier(verb.lower(), full_name, attr_name),
            response_class=JsonValueResponse,
            dependencies=_MAY_READ,
            status_code=status_code,
        )


def _as_route(name: str) -> str:
    """A name in the path of a route, which is compared with what was decoded: only what would be a parameter is not."""
    return name.replace("{", "%7B").replace("}", "%7D")


def _wants_job(request: Request) -> bool:
    return "respond-async" in request.headers.get("prefer", "")


def _body(arguments: Arguments) -> Sequence[Parameter]:
    if arguments.none:
        return ()
    model: Any = arguments.model()
    if arguments.needed:
        return (Parameter("body", Parameter.KEYWORD_ONLY, annotation=model),)
    return (Parameter("body", Parameter.KEYWORD_ONLY, default=None, annotation=model | None),)


def _give_signature(endpoint: Endpoint, parameters: Sequence[Parameter]) -> None:
    """Have FastAPI see these parameters."""
    request = Parameter("request", Parameter.POSITIONAL_OR_KEYWORD, annotation=Request)
    endpoint.__signature__ = Signature([request, *parameters])  # type: ignore[attr-defined]
