"""`one-liner gateway`: servers for browsers, and for all that speaks HTTP."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from one_liner.cli.connection import KeysOption, ServerKeyOption
from one_liner.errors import ConfigurationError, MissingExtraError

_DEFAULT_SERVER = "localhost:5555"
_MIB = 1024 * 1024
_GRACE_S = 3
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def gateway(
    server: Annotated[
        list[str] | None,
        typer.Option(
            "--server",
            "-s",
            envvar="ONE_LINER_SERVER",
            metavar="[NAME=]HOST[:PORT]",
            help="A server; several times for several. With a name, its objects are `NAME/OBJECT`.",
        ),
    ] = None,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Where to listen; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="PORT", help="Where to listen; 0 takes a free one.")] = 8000,
    demo: Annotated[bool, typer.Option("--demo", help="Bring a server with simulated instruments.")] = False,
    instrument: Annotated[
        str | None, typer.Option(metavar="OBJECT", help="The object that `/instrument/COMMAND` means.")
    ] = None,
    stream: Annotated[
        str | None, typer.Option(metavar="NAME", help="What `/ws/stream` shows; a noisy sine if not given.")
    ] = None,
    stream_hz: Annotated[float, typer.Option(metavar="HZ", help="How often it does.")] = 20.0,
    array_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep uploaded arrays here, and not in memory.")
    ] = None,
    arrays_mib: Annotated[float, typer.Option(metavar="MIB", help="How large they may be together.")] = 1024.0,
    body_mib: Annotated[float, typer.Option(metavar="MIB", help="How large a request may be.")] = 260.0,
    connections: Annotated[int, typer.Option(metavar="N", help="How many may be open at a time.")] = 2000,
    rate_hz: Annotated[
        float | None, typer.Option(metavar="HZ", help="How many requests per second one client may make.")
    ] = None,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", help="How long a call may take.")] = 30.0,
    backend: Annotated[
        str, typer.Option(metavar="URL", help="What joins this gateway with others: redis://…, nats://…, zmq://….")
    ] = "memory",
    tokens: Annotated[
        Path | None,
        typer.Option(metavar="FILE", envvar="ONE_LINER_TOKENS", help="Who may come in, TOML; everybody if not given."),
    ] = None,
    cors: Annotated[
        list[str] | None, typer.Option(metavar="ORIGIN", help="Whose pages may call from a browser.")
    ] = None,
    certificate: Annotated[Path | None, typer.Option(metavar="FILE", help="For https: the certificate, PEM.")] = None,
    certificate_key: Annotated[Path | None, typer.Option(metavar="FILE", help="And its key, PEM.")] = None,
    ui: Annotated[bool, typer.Option("--ui/--no-ui", help="Show all of it as a page, at `/ui`.")] = True,
    keys: KeysOption = None,
    server_key: ServerKeyOption = None,
) -> None:
    """Bring servers to browsers: HTTP, WebSockets, a page with all routes at `/docs`.

    `one-liner gateway --server lab-pc-3:5555 --server rig2=lab-pc-4:5555 --port 8000`
    """
    missing = [
        name for name in ("fastapi", "uvicorn", "numpy", "PIL", "multipart") if not importlib.util.find_spec(name)
    ]
    if missing:
        raise MissingExtraError("this needs: pip install 'one_liner[gateway]'")
    if (certificate is None) != (certificate_key is None):
        raise ConfigurationError("https needs both, --certificate and --certificate-key")
    # Not at the top: the other commands need not wait for all this.
    from one_liner.gateway.access import read_tokens
    from one_liner.gateway.settings import Server, Settings

    settings = Settings(
        instrument=instrument,
        timeout_s=timeout,
        stream=stream,
        stream_hz=stream_hz,
        array_dir=array_dir,
        array_bytes=int(min(arrays_mib, body_mib) * _MIB),
        arrays_bytes=int(arrays_mib * _MIB),
        body_bytes=int(body_mib * _MIB),
        connections=connections,
        rate_hz=rate_hz,
        backend=backend,
        tokens=() if tokens is None else read_tokens(tokens),
        cors_origins=tuple(cors or ()),
        ui=ui,
    )
    with contextlib.ExitStack() as stack:
        addresses = [_demo(stack)] if demo else server or [_DEFAULT_SERVER]
        servers = [Server.read(text, keys=keys, server_key=server_key) for text in addresses]
        for one in servers:
            one.check_keys()
        if tokens is None and host not in _LOOPBACK:
            print("one-liner: without --tokens, whoever reaches this address may do everything", file=sys.stderr)
        _serve(servers, settings, host, port, certificate, certificate_key)


def _demo(stack: contextlib.ExitStack) -> str:
    from one_liner.cli.demo.serving import ServingProcess
    from one_liner.credentials import CLIENTS_VARIABLE, KEYS_VARIABLE, SERVER_KEY_VARIABLE

    for variable in (KEYS_VARIABLE, SERVER_KEY_VARIABLE, CLIENTS_VARIABLE):
        os.environ.pop(variable, None)  # They are meant for a rig; the demo is open, to this machine only.
    serving = stack.enter_context(ServingProcess("0", "0", module="one_liner.cli.demo.simulated"))
    print(f"process {serving.pid} serves simulated instruments at {serving.address}", flush=True)
    return serving.address


def _serve(
    servers: object, settings: object, host: str, port: int, certificate: Path | None, certificate_key: Path | None
) -> None:
    import uvicorn

    from one_liner.gateway.app import create_app
    from one_liner.gateway.listening import listen

    app = create_app(servers, settings)  # type: ignore[arg-type]  # as made above, of types that load all of it
    scheme = "http" if certificate is None else "https"
    with listen(host, port) as listener:
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            ws_per_message_deflate=False,  # It would cost more than the network that it saves.
            ws_max_size=16 * _MIB,
            timeout_graceful_shutdown=_GRACE_S,
            ssl_certfile=certificate,
            ssl_keyfile=certificate_key,
            server_header=False,
        )
        shown = f"[{host}]" if ":" in host else host
        print(f"listening at {scheme}://{shown}:{listener.getsockname()[1]}; Ctrl-C ends it", flush=True)
        uvicorn.Server(config).run([listener])
