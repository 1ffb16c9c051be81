"""What a server or a client was told about keys, by its arguments or by the environment.

Only where there are keys at all, `one_liner.keys` is imported, which reads them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from one_liner.errors import ConfigurationError

if TYPE_CHECKING:
    from one_liner.keys import ClientsSource, KeyPair, KeySource
    from one_liner.rpc.permission import Permission

KEYS_VARIABLE: Final = "ONE_LINER_KEYS"
SERVER_KEY_VARIABLE: Final = "ONE_LINER_SERVER_KEY"
CLIENTS_VARIABLE: Final = "ONE_LINER_CLIENTS"


def for_server(
    protocol: str, keys: KeySource | None, clients: ClientsSource | None
) -> tuple[KeyPair, dict[str, Permission]] | None:
    """The keys of a server and the clients it lets in; None when it is to be an open one.

    What is not given is taken from the environment: `ONE_LINER_KEYS`, `ONE_LINER_CLIENTS`.

    Raises:
        ConfigurationError: one without the other, inside one process, or what `read_pair` and `read_clients` say.
    """
    if protocol == "inproc":
        _refuse_inside(keys if keys is not None else clients)
        return None
    keys = keys if keys is not None else _from_environment(KEYS_VARIABLE)
    if keys is None:
        if clients is not None:
            raise ConfigurationError("clients can be told apart by a server with keys only; give it keys=… as well")
        return None
    clients = clients if clients is not None else _from_environment(CLIENTS_VARIABLE)
    from one_liner.keys import read_clients, read_pair

    return read_pair(keys), read_clients(clients)


def for_client(
    protocol: str, keys: KeySource | None, server_key: str | os.PathLike[str] | None
) -> tuple[KeyPair, str] | None:
    """The keys of a client and the public key of its server; None when the server is an open one.

    What is not given is taken from the environment: `ONE_LINER_KEYS`, `ONE_LINER_SERVER_KEY`.

    Raises:
        ConfigurationError: one without the other, inside one process, or what `read_pair` and `read_public` say.
    """
    if protocol == "inproc":
        _refuse_inside(keys if keys is not None else server_key)
        return None
    return together(
        keys if keys is not None else _from_environment(KEYS_VARIABLE),
        server_key if server_key is not None else _from_environment(SERVER_KEY_VARIABLE),
    )


def together(
    keys: KeySource | None, server_key: str | os.PathLike[str] | None, own: KeyPair | None = None
) -> tuple[KeyPair, str] | None:
    """What is needed to connect to a secured server; None to connect to an open one.

    Args:
        keys: who we are.
        server_key: whom we want to talk to.
        own: who we are if `keys` does not say so.

    Raises:
        ConfigurationError: one without the other, or what `read_pair` and `read_public` say.
    """
    if server_key is None:
        if keys is not None:
            raise ConfigurationError(
                f"keys, or {KEYS_VARIABLE}, need the public key of the server, too: "
                f"server_key=… or {SERVER_KEY_VARIABLE}"
            )
        return None
    if keys is None and own is None:
        raise ConfigurationError(
            f"server_key, or {SERVER_KEY_VARIABLE}, needs keys of our own, too: keys=… or {KEYS_VARIABLE}"
        )
    from one_liner.keys import read_pair, read_public

    pair = own if keys is None and own is not None else read_pair(keys or "")
    return pair, read_public(server_key)


def _refuse_inside(given: object) -> None:
    if given is not None:
        raise ConfigurationError("inproc cannot be secured: whoever is in this process can do anything in any case")


def _from_environment(variable: str) -> str | None:
    return os.environ.get(variable) or None
