"""Two SCPI instruments on the network: one with a small driver of its own, one served just as PyVISA opened it.

The instruments are simulated by pyvisa-sim from bench.yaml. For real ones, say `pyvisa.ResourceManager()` and use
the addresses that its `list_resources()` shows.
"""

from __future__ import annotations

import argparse
from contextlib import suppress
from pathlib import Path

import pyvisa
from pyvisa.resources import MessageBasedResource

from one_liner import RouterServer

BENCH = Path(__file__).with_name("bench.yaml")
SUPPLY = "TCPIP0::192.0.2.10::inst0::INSTR"
MULTIMETER = "TCPIP0::192.0.2.11::inst0::INSTR"


class PowerSupply:
    """A bench power supply of 30 V."""

    def __init__(self, resource: MessageBasedResource) -> None:
        self._resource = resource
        self.identity = resource.query("*IDN?")

    @property
    def voltage(self) -> float:
        """The voltage that is set, in V."""
        return float(self._resource.query(":SOUR:VOLT?"))

    @voltage.setter
    def voltage(self, voltage_v: float) -> None:
        self._command(f":SOUR:VOLT {voltage_v:.3f}")

    @property
    def output(self) -> bool:
        """Whether the output is on."""
        return bool(int(self._resource.query(":OUTP?")))

    @output.setter
    def output(self, on: bool) -> None:
        self._command(f":OUTP {int(on)}")

    def _command(self, command: str) -> None:
        # SCPI takes a wrong command without a word; whether it liked it is asked for.
        self._resource.write(command)
        status = int(self._resource.query("*ESR?"))
        if status:
            raise ValueError(f"the supply refused {command!r} (event status {status})")


def open_instrument(visa: pyvisa.ResourceManager, address: str) -> MessageBasedResource:
    """Open what is at this address, and speak with line ends."""
    resource = visa.open_resource(address)
    if not isinstance(resource, MessageBasedResource):
        raise TypeError(f"{address} does not speak SCPI")
    resource.read_termination = resource.write_termination = "\n"
    return resource


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rpc-port", default="5555", help="0 takes a free port")
    parser.add_argument("--broadcast-port", default="5556", help="0 takes a free port")
    ports = parser.parse_args()

    visa = pyvisa.ResourceManager(f"{BENCH}@sim")
    supply = PowerSupply(open_instrument(visa, SUPPLY))
    multimeter = open_instrument(visa, MULTIMETER)

    with RouterServer(
        rpc_port=ports.rpc_port,
        broadcast_port=ports.broadcast_port,
        instances={"supply": supply, "multimeter": multimeter},
    ) as server:
        # The multimeter is read on the lane of its calls: a query by a client and one by the stream never mix.
        server.add_stream("voltage", 10, "multimeter", "query", [":MEAS:VOLT:DC?"])
        print(f"serving at {server.rpc_endpoint}", flush=True)
        server.run(block=True)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
