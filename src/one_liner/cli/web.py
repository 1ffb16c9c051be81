"""`one-liner web`: a gateway from the command line."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from one_liner.cli.values import to_json
from one_liner.errors import ConfigurationError, StreamTimeoutError

if TYPE_CHECKING:
    from one_liner.gateway.numpy_client import NumpyClient

web_app = typer.Typer(help="Use a gateway over HTTP: arrays, and its stream.", no_args_is_help=True)

UrlOption = Annotated[str, typer.Option("--url", envvar="ONE_LINER_GATEWAY", help="Where the gateway is.")]
TokenOption = Annotated[
    str | None, typer.Option("--token", envvar="ONE_LINER_TOKEN", help="Where it asks for one.", show_default=False)
]
DEFAULT_URL = "http://localhost:8000"
_LOOK_EVERY_S = 0.1
_MOST_CHARACTERS = 60


@web_app.command()
def health(url: UrlOption = DEFAULT_URL, token: TokenOption = None) -> None:
    """How it is."""
    with _client(url, token) as client:
        _show(client.health())


@web_app.command()
def upload(
    file: Annotated[Path, typer.Argument(metavar="FILE.NPY", help="An array, as `numpy.save` writes it.")],
    url: UrlOption = DEFAULT_URL,
    token: TokenOption = None,
) -> None:
    """Store an array there."""
    if not file.is_file():
        raise ConfigurationError(f"there is no file {file}")
    with _client(url, token) as client:
        _show(client.upload_file(file))


@web_app.command()
def upload_demo(url: UrlOption = DEFAULT_URL, token: TokenOption = None) -> None:
    """Store three arrays there, of one, two and three dimensions."""
    with _client(url, token) as client:
        import numpy as np

        random = np.random.default_rng()
        for array in (np.sin(np.linspace(0, 10, 100)), random.normal(size=(10, 20)), np.zeros((4, 5, 3), np.uint8)):
            _show(client.upload_numpy_array(array))


@web_app.command(name="list")
def list_arrays(url: UrlOption = DEFAULT_URL, token: TokenOption = None) -> None:
    """The arrays that are stored there."""
    with _client(url, token) as client:
        _show(client.list_arrays())


@web_app.command()
def get(
    index: Annotated[int, typer.Argument(help="Of the array.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE.NPY", help="Where to write it.")
    ] = None,
    url: UrlOption = DEFAULT_URL,
    token: TokenOption = None,
) -> None:
    """One of them: printed, or written to a file."""
    with _client(url, token) as client:
        array = client.get_array(index)
        if output is None:
            print(f"shape {list(array.shape)}, dtype {array.dtype}")
            print(array)
            return
        import numpy as np

        with output.open("wb") as file:
            np.save(file, array, allow_pickle=False)
        print(f"{output}: shape {list(array.shape)}, dtype {array.dtype}")


@web_app.command()
def stream(
    duration: Annotated[
        float | None, typer.Option("--duration", metavar="SECONDS", help="For how long; until Ctrl-C if not given.")
    ] = None,
    name: Annotated[list[str] | None, typer.Option("--stream", metavar="NAME", help="Which stream.")] = None,
    rate_hz: Annotated[float | None, typer.Option(metavar="HZ", help="How often.")] = None,
    url: UrlOption = DEFAULT_URL,
    token: TokenOption = None,
) -> None:
    """What its `/ws/stream` shows, a line for each message. Exit code 1 if nothing came."""
    with _client(url, token) as client:
        connection = client.connect_streaming(_show_data, streams=name, rate_hz=rate_hz)
        end = float("inf") if duration is None else time.monotonic() + duration
        try:
            while time.monotonic() < end and not connection.wait(_LOOK_EVERY_S):
                pass
        except KeyboardInterrupt:
            pass
        connection.close()
        if not connection.received:
            raise StreamTimeoutError(f"nothing came: {connection.problem}" if connection.problem else "nothing came")
        print(f"{connection.received} messages came")


def _client(url: str, token: str | None) -> NumpyClient:
    # Raises what to install, where it is not.
    from one_liner import gateway

    client: NumpyClient = gateway.NumpyClient(url, token=token)
    return client


def _show(answer: Any) -> None:
    print(to_json(answer))


def _show_data(message: dict[str, Any]) -> None:
    values = message["y"]
    named = f"{message['stream']} " if "stream" in message else ""
    first = (
        ", ".join(f"{one:.4g}" for one in values[:4] if isinstance(one, int | float))
        if isinstance(values, list)
        else to_json(values)[:_MOST_CHARACTERS]
    )
    print(f"{message['timestamp']:.3f} {named}{message['dtype']}{message['shape']} {first} …", flush=True)
