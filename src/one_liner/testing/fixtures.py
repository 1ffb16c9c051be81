"""Fixtures for pytest: servers, clients and fault proxies that are closed at the end of the test.

In a `conftest.py`:

    pytest_plugins = ["one_liner.testing.fixtures"]

and in a test:

    def test_panel(router_server, fault_proxy, router_client):
        server = router_server({"laser": Laser()})
        proxy = fault_proxy(server, "delay 20ms", seed=1)
        client = router_client(proxy)

Each fixture is a factory that may be called several times. When a test fails, what its proxies did is in the report.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any, Protocol

from one_liner.client import RouterClient
from one_liner.errors import MissingExtraError
from one_liner.server import RouterServer
from one_liner.testing.faults import Fault
from one_liner.testing.proxy import FaultProxy

try:
    import pytest
except ImportError:
    raise MissingExtraError(
        "one_liner.testing.fixtures needs pytest, which is not installed: pip install pytest"
    ) from None


class HasPorts(Protocol):
    """What can be connected to: a `RouterServer`, a `FaultProxy`, a `SubprocessServer`."""

    @property
    def rpc_port(self) -> int | str:
        """The port of calls."""

    @property
    def broadcast_port(self) -> int | str:
        """The port of streams."""


MakeServer = Callable[..., RouterServer]
MakeClient = Callable[..., RouterClient]
MakeProxy = Callable[..., FaultProxy]


@pytest.fixture
def router_server() -> Iterator[MakeServer]:
    """`router_server(instances=None, *, run=True, **arguments)`: a server on free ports of this machine.

    It runs already unless `run=False`; `arguments` are those of `RouterServer`.
    """
    with ExitStack() as opened:

        def make(instances: Mapping[str, Any] | None = None, *, run: bool = True, **arguments: Any) -> RouterServer:
            arguments = {"rpc_port": 0, "broadcast_port": 0, **arguments}
            server = opened.enter_context(RouterServer(instances=instances, **arguments))
            if run:
                server.run()
            return server

        yield make


@pytest.fixture
def router_client() -> Iterator[MakeClient]:
    """`router_client(server, **arguments)`: a client of a server, or of what stands before it.

    `server` is anything that has ports; `arguments` are those of `RouterClient`.
    """
    with ExitStack() as opened:

        def make(server: HasPorts, **arguments: Any) -> RouterClient:
            arguments = {
                "interface": "127.0.0.1",
                "rpc_port": server.rpc_port,
                "broadcast_port": server.broadcast_port,
                **arguments,
            }
            return opened.enter_context(RouterClient(**arguments))

        yield make


@pytest.fixture
def fault_proxy(request: pytest.FixtureRequest) -> Iterator[MakeProxy]:
    """`fault_proxy(server, faults="", *, seed=0, **arguments)`: a `FaultProxy` before a server.

    `server` is anything that has ports; `arguments` are those of `FaultProxy`.
    """
    proxies: list[FaultProxy] = []
    with ExitStack() as opened:

        def make(
            server: HasPorts, faults: str | Iterable[Fault] = (), *, seed: int = 0, **arguments: Any
        ) -> FaultProxy:
            proxy = FaultProxy(server.rpc_port, server.broadcast_port, faults=faults, seed=seed, **arguments)
            proxies.append(opened.enter_context(proxy))
            return proxy

        yield make
        report = "\n".join(proxy.summary() for proxy in proxies)
    if report:
        request.node.add_report_section("teardown", "fault proxies", report)
