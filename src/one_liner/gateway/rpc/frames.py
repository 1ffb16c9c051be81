"""The frames on the wire: JSON texts that hold a request or a response. No I/O.

`{"request": {"method", "arguments", "call_id"}, "response": null}` and
`{"request": null, "response": {"result", "result_type", "call_id"}}`.
"""

from __future__ import annotations

import json
import secrets
from typing import Any, Final

from pydantic import BaseModel, Field, ValidationError

from one_liner.errors import MalformedError, OneLinerError, RemoteError
from one_liner.gateway.faults import said_by
from one_liner.gateway.json_values import dumps
from one_liner.gateway.pieces import json_text

RPC_ERROR: Final = "RpcError"
"""The `result_type` of an answer that is an error."""


class Request(BaseModel):
    """What one side wants of the other.

    Attributes:
        method: the name.
        arguments: by name; a list, which stock clients do not send, by position.
        call_id: comes back with the answer; 32 hexadecimal digits by custom.
    """

    method: str
    arguments: dict[str, Any] | list[Any] | None = Field(default_factory=dict)
    call_id: str | None = None


class Response(BaseModel):
    """The answer to a request.

    Attributes:
        result: what the method gave; for an error an object with `type`, `message` and `code`.
        result_type: the name of its type, "RpcError" for an error.
        call_id: that of the request.
    """

    result: Any = None
    result_type: str | None = None
    call_id: str | None = None


class Frame(BaseModel):
    """One text: a request, a response, or, which nobody sends, both."""

    request: Request | None = None
    response: Response | None = None


def call_id_of(text: str | bytes) -> str | None:
    """Of a request that is none, its id, so that whoever waits for the answer has it; None where none can be found."""
    try:
        found = json.loads(text)["request"]["call_id"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return found if isinstance(found, str) else None


def read_frame(text: str | bytes) -> Frame:
    """Read one text.

    Raises:
        MalformedError: it is no such frame.
    """
    try:
        return Frame.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"])) or "the text"
        raise MalformedError(f"no frame of this protocol: {where}: {first['msg']}") from None


def request_text(method: str, arguments: str, call_id: str) -> str:
    """A request; `arguments` is JSON already, because many subscribers get the same."""
    return (
        f'{{"request":{{"method":{json.dumps(method)},"arguments":{arguments},"call_id":"{call_id}"}},"response":null}}'
    )


def response_text(result: Any, result_type: str, call_id: str | None) -> str:
    """A response; on a thread if the result is large.

    Raises:
        NotCarriableError: the result has no JSON.
    """
    answer = f'"result":{json_text(result)},"result_type":{json.dumps(result_type)},"call_id":{json.dumps(call_id)}'
    return f'{{"request":null,"response":{{{answer}}}}}'


def error_text(error: BaseException, call_id: str | None) -> str:
    """The response that says that, and why, there is no result."""
    return response_text(error_result(error), RPC_ERROR, call_id)


def error_result(error: BaseException) -> dict[str, str]:
    """An error as data: `type` as the instrument named it, `message` for people, `code` for programs."""
    kind, message = said_by(error)
    return {
        "type": kind,
        "message": message,
        "code": error.code if isinstance(error, OneLinerError) else RemoteError.code,
    }


def as_json(value: Any) -> str:
    """A value as JSON text; what JSON does not have as the gateway writes it everywhere."""
    return dumps(value).decode()


def new_id() -> str:
    """32 random hexadecimal digits."""
    return secrets.token_hex(16)
