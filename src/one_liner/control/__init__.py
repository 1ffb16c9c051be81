"""The language-agnostic port: commands and events as JSON over plain ZeroMQ, beside the native protocol.

`ControlService` serves them, `ControlPeer` is the other end. What lives here only translates: the words and the writing
(`numbers`, `letter_case`, `plain`, `request`, `response`, `topics`), who answers what (`handlers`, `desk`, `record`),
and the threads that own the sockets. Jobs and events themselves are the business of the core.
"""

from one_liner.control.later import Later
from one_liner.control.letter_case import Verbatim
from one_liner.control.listener import Published
from one_liner.control.numbers import Command, ErrorKind, EventKind, Result, Topic
from one_liner.control.peer import ControlPeer
from one_liner.control.request import CommandRequest
from one_liner.control.response import CommandResponse
from one_liner.control.service import ControlService

__all__ = [
    "Command",
    "CommandRequest",
    "CommandResponse",
    "ControlPeer",
    "ControlService",
    "ErrorKind",
    "EventKind",
    "Later",
    "Published",
    "Result",
    "Topic",
    "Verbatim",
]
