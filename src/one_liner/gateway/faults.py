"""How errors leave by HTTP: one status for each kind, and one form for all."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from one_liner.errors import (
    BadArgumentsError,
    BusyError,
    CallTimeoutError,
    ConfigurationError,
    JobError,
    JobLostError,
    JobTimeoutError,
    LimitError,
    LocalProtocolError,
    NoDataError,
    NotExposedError,
    OneLinerError,
    RefusedError,
    RemoteError,
    TransportError,
    UnknownJobError,
    UnknownStreamError,
)
from one_liner.gateway.json_values import JsonValueResponse
from one_liner.json_forms.values import to_plain

_STATUSES: tuple[tuple[type[OneLinerError], int], ...] = (
    (NotExposedError, 404),
    (UnknownStreamError, 404),
    (BadArgumentsError, 422),
    (LocalProtocolError, 422),
    (ConfigurationError, 422),
    (UnknownJobError, 404),
    (JobLostError, 410),
    (JobTimeoutError, 504),
    (JobError, 409),
    (BusyError, 409),
    (CallTimeoutError, 504),
    (NoDataError, 404),
    (RemoteError, 500),
    (LimitError, 429),
    (RefusedError, 502),
    (TransportError, 503),
)
"""The first that fits counts."""
_RETRY_AFTER_S = "1"


def status_of(error: OneLinerError) -> int:
    """The HTTP status of an error; 500 for what is in no other."""
    return next((status for cls, status in _STATUSES if isinstance(error, cls)), 500)


def fault_json(error: OneLinerError) -> dict[str, Any]:
    """An error as data: `status` is "error", `type` what was raised, `message`, `error` its code of the protocol."""
    kind, message = said_by(error)
    fault: dict[str, Any] = {
        "status": "error",
        "error": error.code,
        "type": kind,
        "message": message,
        "detail": f"{kind}: {message}",
    }
    if isinstance(error, RemoteError):
        fault["where"] = error.where
    elif error.details:
        fault["details"] = to_plain(error.details)
    return fault


def said_by(error: BaseException) -> tuple[str, str]:
    """The type of an error, as the instrument named it, and what it said, without its type in front."""
    if isinstance(error, RemoteError):
        return error.type_name, error.message or error.type_name
    return type(error).__name__, str(error) or type(error).__name__


def fault_message(error: OneLinerError, **more: Any) -> dict[str, Any]:
    """An error as a message on a WebSocket: `type` is "error" there; what was raised stands in `detail`."""
    return {**fault_json(error), "type": "error", **more}


def fault_response(error: OneLinerError) -> Response:
    """An error as an answer."""
    status = status_of(error)
    return JsonValueResponse(
        fault_json(error), status_code=status, headers={"Retry-After": _RETRY_AFTER_S} if status in (429, 503) else None
    )


def refusal(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    """The same form for what never got to a server."""
    return JsonValueResponse({"status": "error", "message": message}, status, headers)


def add_fault_handlers(app: FastAPI) -> None:
    """Have every error of ours, of FastAPI and of Starlette leave in the one form."""

    @app.exception_handler(OneLinerError)
    async def ours(_: Request, error: OneLinerError) -> Response:
        return fault_response(error)

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> Response:
        return refusal(error.status_code, str(error.detail), dict(error.headers or {}))

    @app.exception_handler(RequestValidationError)
    async def validation(_: Request, error: RequestValidationError) -> Response:
        found = [
            {"loc": [str(part) for part in one["loc"]], "msg": one["msg"], "type": one["type"]}
            for one in error.errors()
        ]
        text = "; ".join(f"{'.'.join(one['loc'])}: {one['msg']}" for one in found)
        return JsonValueResponse({"status": "error", "message": text, "detail": found}, 422)
