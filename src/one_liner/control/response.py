"""The answer to a command, and how it is written."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from one_liner.control.numbers import ErrorKind, Result
from one_liner.control.plain import plain, to_bytes
from one_liner.errors import NotCarriableError


class Answer(NamedTuple):
    """An answer as it is sent.

    Attributes:
        fields: all seven.
        body: the same as JSON.
        final: whether it is the end of the command.
    """

    fields: dict[str, Any]
    body: bytes
    final: bool = True

    @property
    def is_pending(self) -> bool:
        """Whether it says that the command goes on."""
        return self.fields["result"] in (Result.PENDING, Result.PENDING_WITH_NOTIFICATION)

    def with_message(self, message: str) -> Answer:
        """The same, with a message in front of its own."""
        own = self.fields["errorMessage"]
        fields = {**self.fields, "errorMessage": f"{message}; {own}" if own else message}
        return Answer(fields, to_bytes(fields), self.final)


_BY_COMMAND = (Result.FAILED, Result.EXCEPTION)


@dataclass(frozen=True, slots=True)
class CommandResponse:
    """What a handler may return, and what a peer is given.

    A handler that returns anything else has succeeded, and that is its data.

    Attributes:
        result: how it went.
        data: any value that has a form in JSON.
        error_code: the application's number for what went wrong; 0 for none.
        error_message: the same for people.
        error_kind: whose error it is; None finds out from the result.
        command: the number of the command; filled in.
        nonce: that of the request; filled in.
    """

    result: Result = Result.SUCCESS
    data: Any = None
    error_code: int = 0
    error_message: str | None = None
    error_kind: ErrorKind | None = None
    command: int = 0
    nonce: int = 0

    @classmethod
    def of(cls, value: Any) -> CommandResponse:
        """What a handler returned, as a response."""
        return value if isinstance(value, CommandResponse) else cls(data=value)

    @classmethod
    def of_error(cls, error: BaseException) -> CommandResponse:
        """What a handler raised."""
        text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return cls(Result.EXCEPTION, error_message=text)

    def answering(self, command: int, nonce: int) -> CommandResponse:
        """The same, as the answer to one request."""
        return replace(self, command=command, nonce=nonce)

    def as_dict(self) -> dict[str, Any]:
        """All seven fields, in JSON's own types. Data that has no form there becomes a SYSTEM_ERROR, the rest stays."""
        error_kind, message = self._kind(), self.error_message
        try:
            data = plain(self.data, "data")
        except NotCarriableError as error:
            data, error_kind = None, ErrorKind.SYSTEM_ERROR
            message = f"the data could not be written: {error}" + (f"; {message}" if message else "")
        return {
            "nonce": self.nonce,
            "command": self.command,
            "result": int(self.result),
            "data": data,
            "errorKind": int(error_kind),
            "errorCode": int(self.error_code),
            "errorMessage": None if message is None else str(message),
        }

    def written(self, *, final: bool = True) -> Answer:
        """Ready to be sent."""
        fields = self.as_dict()
        return Answer(fields, to_bytes(fields), final)

    @classmethod
    def from_dict(cls, told: dict[str, Any]) -> CommandResponse:
        """Read what a service answered. Numbers that are not known stay numbers.

        Raises:
            KeyError, ValueError, TypeError: it is no answer.
        """
        result, kind = int(told["result"]), int(told.get("errorKind") or 0)
        message = told.get("errorMessage")
        return cls(
            result=Result(result),
            data=told.get("data"),
            error_code=int(told.get("errorCode") or 0),
            error_message=None if message is None else str(message),
            error_kind=ErrorKind(kind),
            command=int(told["command"]),
            nonce=int(told["nonce"]),
        )

    def _kind(self) -> ErrorKind:
        if self.error_kind is not None:
            return self.error_kind
        return ErrorKind.COMMAND_ERROR if self.result in _BY_COMMAND or self.error_code else ErrorKind.NONE
