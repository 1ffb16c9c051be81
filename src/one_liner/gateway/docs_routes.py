"""`/openapi.json`, `/docs` and `/redoc`: what all routes are called, for who may look.

FastAPI would tell everybody, and the names of what is served are among them.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from starlette.responses import JSONResponse, Response

from one_liner.gateway.access import Role, access_of, needs

_SPECIFICATION = "/openapi.json"
_SECURITY: dict[str, Any] = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "header": {"type": "apiKey", "in": "header", "name": "X-Token"},
    "query": {"type": "apiKey", "in": "query", "name": "token"},
}


def docs_router(app: FastAPI) -> APIRouter:
    """The routes.

    Args:
        app: what they tell of; made without routes of this kind of its own.
    """
    router = APIRouter(dependencies=[Depends(needs(Role.READ))], include_in_schema=False)

    @router.get(_SPECIFICATION)
    async def specification(request: Request) -> Response:
        """All routes, as OpenAPI has it."""
        content = dict(app.openapi())
        root = _root_of(request)
        if root:
            content["servers"] = [{"url": root}]
        if not access_of(request).open:
            content["components"] = {**content.get("components", {}), "securitySchemes": _SECURITY}
            content["security"] = [{name: []} for name in _SECURITY]
        return JSONResponse(content)

    @router.get("/docs")
    async def docs(request: Request) -> Response:
        """The same for people, with a form for each."""
        return get_swagger_ui_html(openapi_url=_specification_of(request), title=app.title)

    @router.get("/redoc")
    async def redoc(request: Request) -> Response:
        """The same to be read."""
        return get_redoc_html(openapi_url=_specification_of(request), title=app.title)

    return router


def _specification_of(request: Request) -> str:
    """Its address, with the token that the page itself was asked for with: a browser sends no other."""
    token = request.query_params.get("token")
    return f"{_root_of(request)}{_SPECIFICATION}{f'?token={quote(token)}' if token else ''}"


def _root_of(request: Request) -> str:
    """What stands in front of our paths, where we are mounted in another application."""
    root: str = request.scope.get("root_path", "")
    return root.rstrip("/")
