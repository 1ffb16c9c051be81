"""`one-liner bridge`: a server's streams, events and calls on NATS."""

from __future__ import annotations

import asyncio
import signal
from typing import Annotated

import typer

from one_liner.address import Address
from one_liner.aio import AsyncRouterClient
from one_liner.cli.connection import DEFAULT_SERVER, KeysOption, ServerKeyOption, ServerOption, TimeoutOption


def bridge(
    url: Annotated[str, typer.Argument(metavar="NATS://HOST:PORT", help="The broker.")],
    server: ServerOption = DEFAULT_SERVER,
    stream: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A stream to publish; `*` for all. Again for more.")
    ] = None,
    event: Annotated[
        list[str] | None,
        typer.Option(metavar="TOPIC", help="Events to publish: `event`, `emergency`, `property_change`, …"),
    ] = None,
    call: Annotated[
        list[str] | None, typer.Option(metavar="OBJECT", help="An object that may be called; `*` for all.")
    ] = None,
    prefix: Annotated[str, typer.Option(metavar="WORD", help="In front of all subjects.")] = "one_liner",
    jetstream: Annotated[
        bool, typer.Option("--jetstream", help="Have JetStream keep what is published, to be read again.")
    ] = False,
    keep_hours: Annotated[
        float | None, typer.Option(metavar="HOURS", min=0, help="For how long JetStream keeps it.")
    ] = None,
    keep_mib: Annotated[int, typer.Option(metavar="MIB", min=1, help="Up to which size.")] = 1024,
    seconds: Annotated[float | None, typer.Option(metavar="S", help="End after so many seconds.")] = None,
    timeout: TimeoutOption = None,
    keys: KeysOption = None,
    server_key: ServerKeyOption = None,
) -> None:
    """Publish streams and events to NATS, and answer calls there, until Ctrl-C.

    Without `--stream`, `--event` and `--call` all streams are published, and nothing may be called.
    """
    from one_liner.gateway.bridge import Bridge, BridgeStatistics, Keep

    names = [*(stream or ()), *(f":{topic}" for topic in event or ())]
    if not names and not call:
        names = ["*"]
    keep = Keep(None, None if keep_hours is None else 3600 * keep_hours, keep_mib << 20) if jetstream else None

    async def main() -> BridgeStatistics:
        address = Address.read(server)
        client = AsyncRouterClient(
            address.protocol,
            address.interface,
            address.rpc_port,
            None,
            name="bridge",
            timeout_s=timeout,
            keys=keys,
            server_key=server_key,
        )
        async with client:
            one = Bridge(url, client, prefix=prefix, streams=names, calls=call or (), keep=keep)
            print(f"{address} is bridged to {url} as {prefix}.>; Ctrl-C ends it", flush=True)
            try:
                async with asyncio.timeout(seconds):
                    await one.run()
            except TimeoutError:
                pass
            except asyncio.CancelledError:
                # Ctrl-C cancels this task, and to say what was done comes first.
                pass
            return one.statistics

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # Service managers send it; it ends this as Ctrl-C does.
    try:
        done = asyncio.run(main())
    except KeyboardInterrupt:
        return
    print(f"{done.published} published, {done.unsent} not; {done.answered} calls answered")
