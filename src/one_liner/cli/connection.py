"""The options by which every client command finds its server, and the client that they make."""

from __future__ import annotations

import logging
from enum import Enum
from typing import Annotated

import typer

from one_liner.address import DEFAULT_HOST, Address
from one_liner.client import RouterClient
from one_liner.errors import TransportError

DEFAULT_SERVER = DEFAULT_HOST

ServerOption = Annotated[
    str,
    typer.Option(
        "--server",
        "-s",
        envvar="ONE_LINER_SERVER",
        metavar="HOST[:PORT]",
        help="Where the server is; also `tcp://host:port` or `ipc://path:port`. The port is that of calls.",
    ),
]
TimeoutOption = Annotated[
    float | None,
    typer.Option(
        "--timeout", metavar="SECONDS", help="How long to wait for an answer; as long as the server lives if not given."
    ),
]


KeysOption = Annotated[
    str | None,
    typer.Option(
        "--keys",
        metavar="FILE",
        help="For a secured server: our key, `*.key`. Without it the variable `ONE_LINER_KEYS` counts.",
        show_default=False,
    ),
]
ServerKeyOption = Annotated[
    str | None,
    typer.Option(
        "--server-key",
        metavar="KEY_OR_FILE",
        help="The server's public key, or its file, `*.pub`. Without it `ONE_LINER_SERVER_KEY` counts.",
        show_default=False,
    ),
]


class IfBusy(Enum):
    """What is to become of a call that would have to wait for another one."""

    WAIT = "wait"
    REFUSE = "refuse"


IfBusyOption = Annotated[
    IfBusy,
    typer.Option("--if-busy", help="Where another call is at work with the object: wait in line, or be refused."),
]


def connect(
    server: str,
    timeout_s: float | None,
    keys: str | None = None,
    server_key: str | None = None,
    if_busy: IfBusy = IfBusy.WAIT,
) -> RouterClient:
    """A client of the server that was asked for; it learns the port of streams from there.

    Args:
        server: as in `Address.read`.
        timeout_s: for all its calls; None waits as long as the server lives.
        keys: the file with our key; from the environment if None.
        server_key: the server's public key or its file; from the environment if None.
        if_busy: what is to become of calls that would have to wait for others.

    Raises:
        ConfigurationError: the address, the timeout or a key cannot be.
    """
    address = Address.read(server)
    if logging.lastResort is not None:
        logging.lastResort.addFilter(_is_said_by_nobody_else)
    return RouterClient(
        address.protocol,
        address.interface,
        address.rpc_port,
        None,
        timeout_s=timeout_s,
        if_busy=if_busy.value,
        keys=keys,
        server_key=server_key,
    )


def _is_said_by_nobody_else(record: logging.LogRecord) -> bool:
    """Whether a warning on standard error is news: why a server does not want us is what the command ends with."""
    return not (isinstance(record.args, tuple) and any(isinstance(one, TransportError) for one in record.args))
