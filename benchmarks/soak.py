"""A soak: many clients, streams and faults at once, and then an account of every single call and sample.

    python -m benchmarks.soak --minutes 10 --clients 50 --streams 20 --seed 1

One server process, clients in a few processes of their own, and two fault proxies here that a third of the clients
each go through; the last third is connected directly. `--minutes` is the time under faults; calm moments before, in
between and behind, in which memory and descriptors are read, come on top.

What it shows. Each call has a number, and the served objects count how often each number was executed. At the end
*every* call, answered or failed, is held against that count: answered and raised is once, an error that says "did not
run" is never, one that says "may or may not have run" is never or once, and nothing is twice. All streams begin after
all readers are there and end before they leave, in good weather, so each reader's account must add up to what the
server says it *produced*, and not only in itself. Each sample carries a number from its source, which has to be its
sequence number, and to rise.

What it does not show. One machine, plain TCP on loopback, no CURVE, no cascade, and a server that is never restarted;
tests do these. `dropped upstream` is not told apart further: the proxy drops samples on purpose. Calls are few per
second and client: this is no measurement of speed. The memory of the proxies, here, is not judged, and where there is
no `/proc` memory and descriptors are not read at all.

Exit code: 0 only if nothing is unexplained, executed twice or unaccounted, memory grew by less than 20 % + 20 MB after
warm-up, and no process holds more descriptors than then. 1 otherwise, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import heapq
import json
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, Queue
from random import Random
from threading import Event, Lock, Thread
from typing import Any, Final

from one_liner.client import RouterClient
from one_liner.errors import (
    AnswerLostError,
    BadArgumentsError,
    BusyTimeoutError,
    CallTimeoutError,
    NoDataError,
    NoServerError,
    NotReceivedError,
    OneLinerError,
    RemoteError,
    ServerClosedError,
    ServerLostError,
    ServerRestartedError,
)
from one_liner.server import RouterServer
from one_liner.testing import Drop, Duplicate, FaultProxy, Sever, SubprocessServer

# What an answer or an error said of its call, as it is noted for each.
NOT_RUN, RAN, MAYBE = 0, 1, 2
# The first that fits counts; nothing else is explained. The server is never restarted here, so these two are not.
SAID: Final[tuple[tuple[type[OneLinerError], int | None], ...]] = (
    (ServerRestartedError, None),
    (ServerClosedError, None),
    (BusyTimeoutError, NOT_RUN),
    (NoServerError, NOT_RUN),
    (NotReceivedError, NOT_RUN),
    (ServerLostError, MAYBE),
    (CallTimeoutError, MAYBE),
    (AnswerLostError, MAYBE),
)
LARGE_BYTES: Final = 1_000_000
RATES_HZ: Final = (5.0, 20.0, 2.0, 50.0, 10.0, 30.0)
TIMEOUT_S: Final = 3.0
CALL_KINDS: Final = ("echo",) * 15 + ("slow",) * 2 + ("failing",) * 2 + ("wrong",)
FAULTS: Final = ("cut", "freeze", "delay", "drop replies", "drop requests", "drop samples", "duplicate", "sever")
MB: Final = 1_000_000


# --- the server ------------------------------------------------------------------------------------------------------


class Book:
    """How often each call was executed, and when the application's own streams run."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._executed: dict[int, bytearray] = {}
        self.running = Event()

    def note(self, client: int, number: int) -> None:
        with self._lock:
            page = self._executed.setdefault(client, bytearray())
            page.extend(bytes(max(0, number + 1 - len(page))))
            page[number] = min(255, page[number] + 1)

    def executed(self, client: int) -> bytes:
        """How often, for each number of a client's calls."""
        with self._lock:
            return bytes(self._executed.get(client, b""))

    def begin(self) -> None:
        self.running.set()

    def end(self) -> None:
        self.running.clear()


class Worker:
    """What is called: answers, or sleeps first, or raises."""

    def __init__(self, book: Book, pause_s: float = 0.0, fails: bool = False) -> None:
        self._book, self._pause_s, self._fails = book, pause_s, fails

    def work(self, client: int, number: int, value: Any) -> Any:
        self._book.note(client, number)
        time.sleep(self._pause_s)
        if self._fails:
            raise ValueError(f"{client}/{number}")
        return value


class Source:
    """What a stream reads: a number that rises, and some weight."""

    def __init__(self, size: int) -> None:
        self._number, self._load = -1, bytes(size)

    def read(self) -> list[Any]:
        self._number += 1
        return [self._number, self._load]


@dataclass(frozen=True)
class Plan:
    """One stream."""

    name: str
    rate_hz: float
    size: int
    pushed: bool


def plans(streams: int) -> list[Plan]:
    """The first two are large, the others small; every other one is pushed by the application."""
    large = [Plan("large-0", 2.0, LARGE_BYTES, True), Plan("large-1", 3.0, LARGE_BYTES, False)]
    small = [Plan(f"small-{k}", RATES_HZ[k % len(RATES_HZ)], 40, k % 2 == 0) for k in range(2, streams)]
    return (large + small)[:streams]


def make_server(rpc_port: int, broadcast_port: int, streams: int) -> RouterServer:
    """Called in the process of the server."""
    book = Book()
    workers = {"echo": Worker(book), "slow": Worker(book, 0.1), "failing": Worker(book, fails=True)}
    server = RouterServer(rpc_port=rpc_port, broadcast_port=broadcast_port, instances={"book": book, **workers})
    pushes: list[tuple[Plan, Callable[[], object]]] = []
    for plan in plans(streams):
        source = Source(plan.size)
        if plan.pushed:
            push = server.get_stream_fn(plan.name)
            pushes.append((plan, lambda push=push, source=source: push(source.read())))  # type: ignore[misc]
        else:
            server.add_instance(f"source-{plan.name}", source)
            server.add_stream(plan.name, plan.rate_hz, f"source-{plan.name}", "read", enabled=False)
    Thread(target=_push_all, args=(book, pushes), daemon=True).start()
    return server


def _push_all(book: Book, pushes: list[tuple[Plan, Callable[[], object]]]) -> None:
    book.running.wait()
    due = [(time.monotonic() + 1.0 / plan.rate_hz, index) for index, (plan, _) in enumerate(pushes)]
    heapq.heapify(due)
    while book.running.is_set():
        at, index = due[0]
        time.sleep(min(0.05, max(0.0, at - time.monotonic())))
        if time.monotonic() >= at:
            plan, push = pushes[index]
            push()
            heapq.heapreplace(due, (at + 1.0 / plan.rate_hz, index))


# --- one client ------------------------------------------------------------------------------------------------------


class Visitor:
    """One client with a thread that calls and a thread that reads; it notes what became of everything."""

    def __init__(self, number: int, ports: tuple[int, int], streams: int, seed: int) -> None:
        self.number = number
        self._random = Random(f"{seed}/{number}")
        self._client = RouterClient(
            interface="127.0.0.1", rpc_port=ports[0], broadcast_port=ports[1], name=f"visitor {number}"
        )
        self._names = self._configure(plans(streams))
        self._said = bytearray()
        self._answered, self._failed, self._unexplained = 0, Counter[str](), 0
        self._errors: dict[int, str] = {}
        self._strange: list[str] = []
        self._longest_s = 0.0
        self._last, self._disordered = dict.fromkeys(self._names, -1), 0
        self._no_calls, self._no_reads = Event(), Event()
        self._caller = Thread(target=self._call_on, daemon=True)
        self._reader = Thread(target=self._read_on, daemon=True)

    def _configure(self, all_plans: list[Plan]) -> list[str]:
        large = [plan.name for plan in all_plans if plan.size == LARGE_BYTES]
        small = [plan.name for plan in all_plans if plan.size < LARGE_BYTES]
        names = [small[(self.number + step) % len(small)] for step in range(min(4, len(small)))]
        if self.number % 10 in (1, 2, 3):
            names.append(large[self.number % len(large)])
        for index, name in enumerate(names):
            kind: Any = "cache" if index % 3 == 2 else "queue"
            room = 10 if self.number % 4 == 0 else 200  # The small ones overflow when their reader pauses.
            self._client.configure_stream(name, kind, max_samples=room, wait=True, timeout_s=20.0)
        return names

    def start(self) -> None:
        self._caller.start()
        self._reader.start()

    def received(self) -> list[int]:
        return [self._client.stream_statistics(name).received for name in self._names]

    def expected_all(self, produced: dict[str, int]) -> bool:
        return all(self._client.stream_statistics(name).expected >= produced[name] for name in self._names)

    def stop_calling(self) -> None:
        self._no_calls.set()
        self._caller.join(10 * TIMEOUT_S)

    def finish(self) -> dict[str, Any]:
        """Stop reading, and tell everything."""
        self._no_reads.set()
        self._reader.join(10 * TIMEOUT_S)
        hung = self._caller.is_alive() + self._reader.is_alive()
        report = {
            "number": self.number,
            "said": self._said.hex(),
            "answered": self._answered,
            "failed": self._failed,
            "unexplained": self._unexplained + hung,
            "strange": self._strange,
            "errors": {str(number): text for number, text in self._errors.items()},
            "longest_s": self._longest_s,
            "disordered": self._disordered,
            "streams": {name: self._client.stream_statistics(name).as_dict() for name in self._names},
        }
        self._client.close()
        return report

    # --- calls ---

    def _call_on(self) -> None:
        while not self._no_calls.wait(self._random.uniform(0.1, 0.4)):
            number, began = len(self._said), time.monotonic()
            self._said.append(MAYBE)
            said = self._call(self._random.choice(CALL_KINDS), number)
            self._longest_s = max(self._longest_s, time.monotonic() - began)
            if said is None:
                self._unexplained += 1
                self._strange = [*self._strange, f"call {number}, {self._errors[number]}"][:5]
            else:
                self._said[number] = said

    def _call(self, kind: str, number: int) -> int | None:
        """What the answer or the error says; None if it cannot be explained."""
        value = [number, "x" * self._random.randrange(200)]
        args = [self.number, number] if kind == "wrong" else [self.number, number, value]
        timeout_s = self._random.choice((0.15, TIMEOUT_S)) if kind == "slow" else TIMEOUT_S
        try:
            answer = self._client.call("echo" if kind == "wrong" else kind, "work", args, timeout_s=timeout_s)
        except OneLinerError as error:
            remote = "RemoteError, " * isinstance(error, RemoteError)
            self._failed[remote + type(error).__name__] += 1
            self._errors[number] = f"{kind}: {type(error).__name__}: {error}"[:300]
            return self._judge(kind, number, error)
        except Exception as error:
            self._failed[type(error).__name__] += 1
            self._errors[number] = f"{kind}: not ours: {error!r}"[:300]
            return None
        self._answered += 1
        if kind in ("echo", "slow") and answer == value:
            return RAN
        self._errors[number] = f"{kind}: wrong answer {answer!r}"[:300]
        return None

    def _judge(self, kind: str, number: int, error: OneLinerError) -> int | None:
        if isinstance(error, RemoteError):
            meant = isinstance(error, ValueError) and f"{self.number}/{number}" in str(error)
            return RAN if kind == "failing" and meant else None
        if isinstance(error, BadArgumentsError):
            return NOT_RUN if kind == "wrong" else None
        return next((said for cls, said in SAID if isinstance(error, cls)), None)

    # --- samples ---

    def _read_on(self) -> None:
        lazy = self.number % 4 == 0
        while not self._no_reads.wait(self._random.uniform(0.5, 1.5) if lazy else 0.03):
            for name in self._names:
                self._take_all(name)

    def _take_all(self, name: str) -> None:
        while True:
            try:
                sample = self._client.get_stream(name)
            except NoDataError:
                return
            number = sample.data[0]
            if number != sample.sequence or number <= self._last[name]:
                self._disordered += 1
            self._last[name] = number


def visit(arguments: dict[str, Any]) -> None:
    """The process of some clients: does what lines on its input say, and answers each with a line."""
    seed, streams = arguments["seed"], arguments["streams"]
    visitors = [Visitor(number, (rpc, cast), streams, seed) for number, rpc, cast in arguments["visitors"]]
    _say("ready")
    for line in sys.stdin:
        word, content = json.loads(line)
        if word == "begin":
            for visitor in visitors:
                visitor.start()
            _say(True)
        elif word == "catch up":
            before = [visitor.received() for visitor in visitors]
            _say(_within(30.0, lambda before=before: _all_grew(before, visitors)))  # type: ignore[misc]
        elif word == "stop calling":
            for visitor in visitors:
                visitor.stop_calling()
            _say(True)
        elif word == "finish":
            _within(10.0, lambda made=content: all(visitor.expected_all(made) for visitor in visitors))  # type: ignore[misc]
            _say([visitor.finish() for visitor in visitors])


def _all_grew(before: list[list[int]], visitors: list[Visitor]) -> bool:
    now = [visitor.received() for visitor in visitors]
    return all(new > old for olds, news in zip(before, now, strict=True) for old, new in zip(olds, news, strict=True))


def _within(seconds: float, predicate: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not (done := predicate()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return done


def _say(content: Any) -> None:
    print(json.dumps(content), flush=True)


# --- the processes, as seen from here --------------------------------------------------------------------------------


class ClientProcess:
    """Some clients in a process of their own."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        command = [sys.executable, "-m", "benchmarks.soak", "--visit", json.dumps(arguments)]
        # In a session of its own, where no Ctrl-C reaches it; it ends when its input does.
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        self._lines: Queue[str] = Queue()
        self._listener = Thread(target=self._listen, daemon=True)
        self._listener.start()
        self.pid = self._process.pid

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def tell(self, word: str, content: Any = None) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([word, content]) + "\n")
        self._process.stdin.flush()

    def answer(self, timeout_s: float = 90.0) -> Any:
        """What it says next.

        Raises:
            RuntimeError: it said nothing in time, or has ended.
        """
        try:
            line = self._lines.get(timeout=timeout_s)
        except Empty:
            raise RuntimeError(f"client process {self.pid} says nothing for {timeout_s:g} s") from None
        if not line:
            raise RuntimeError(f"client process {self.pid} ended")
        return json.loads(line)

    def close(self) -> None:
        """End it, and wait until it is gone."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.close()
        except OSError:
            pass  # It is gone already.
        try:
            self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listener.join(5.0)
        self._process.stdout.close()


@dataclass(frozen=True)
class Use:
    """Memory and descriptors of one process."""

    bytes: int
    descriptors: int

    @classmethod
    def of(cls, pid: int) -> Use | None:
        """None where the system does not tell."""
        folder = Path(f"/proc/{pid}")
        try:
            status = (folder / "status").read_text(encoding="utf-8")
            return cls(int(status.split("VmRSS:")[1].split()[0]) * 1024, len(list((folder / "fd").iterdir())))
        except (OSError, IndexError):
            return None


# --- the soak --------------------------------------------------------------------------------------------------------


@dataclass
class Soak:
    """One run: what takes part in it, and what came out."""

    minutes: float
    clients: int
    streams: int
    seed: int
    struck: Counter[str] = field(default_factory=Counter)
    first: dict[str, Use | None] = field(default_factory=dict)
    last: dict[str, Use | None] = field(default_factory=dict)
    produced: dict[str, int] = field(default_factory=dict)
    executed: dict[int, bytes] = field(default_factory=dict)
    reports: list[dict[str, Any]] = field(default_factory=list)
    not_recovered: int = 0

    def run(self) -> None:
        with ExitStack() as stack:
            with _uninterrupted():
                server = stack.enter_context(SubprocessServer("benchmarks.soak:make_server", {"streams": self.streams}))
            proxies = [
                stack.enter_context(FaultProxy(server.rpc_port, server.broadcast_port, seed=self.seed + k))
                for k in range(2)
            ]
            processes = self._start_clients(stack, server, proxies)
            own = RouterClient(
                interface="127.0.0.1", rpc_port=server.rpc_port, broadcast_port=server.broadcast_port, timeout_s=20.0
            )
            stack.callback(own.close)
            pids = {"server": server.pid, **{f"clients {k}": each.pid for k, each in enumerate(processes)}}
            self._live(own, proxies, processes, pids)

    def _start_clients(
        self, stack: ExitStack, server: SubprocessServer, proxies: list[FaultProxy]
    ) -> list[ClientProcess]:
        ways = [(server.rpc_port, server.broadcast_port)]
        ways += [(proxy.rpc_port, proxy.broadcast_port) for proxy in proxies]
        count = max(2, self.clients // 10)
        processes = []
        for index in range(count):
            visitors = [[number, *ways[number % 3]] for number in range(index, self.clients, count)]
            with _uninterrupted():
                processes.append(ClientProcess({"seed": self.seed, "streams": self.streams, "visitors": visitors}))
                stack.callback(processes[-1].close)
        for process in processes:
            process.answer()
        return processes

    def _live(
        self, own: RouterClient, proxies: list[FaultProxy], processes: list[ClientProcess], pids: dict[str, int]
    ) -> None:
        seconds, random = 60.0 * self.minutes, Random(self.seed)
        periodic = [plan.name for plan in plans(self.streams) if not plan.pushed]
        _tell_all(processes, "begin")
        own.call("book", "begin")
        for name in periodic:
            own.enable_stream(name)
        self._weather(proxies, random, 0.2 * seconds)
        self._catch_up(processes)
        self.first = _settled(pids, None)
        self._weather(proxies, random, 0.8 * seconds)
        self._catch_up(processes)
        self.last = _settled(pids, self.first)
        _tell_all(processes, "stop calling")
        own.call("book", "end")
        for name in periodic:
            own.disable_stream(name)
        time.sleep(0.5)  # A push, or a tick, that is under way comes to its end.
        configurations = own.get_stream_configurations(as_dict=False)
        self.produced = {name: configuration.produced for name, configuration in dict(configurations).items()}
        self.reports = [report for each in _tell_all(processes, "finish", self.produced) for report in each]
        self.executed = {number: own.call("book", "executed", [number]) for number in range(self.clients)}

    def _weather(self, proxies: list[FaultProxy], random: Random, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            proxy, word = random.choice(proxies), random.choice(FAULTS)
            lasts_s = random.choice((0.3, 1.0, 2.0, 4.0))  # The longest is noticed as a lost server.
            pause_s = random.uniform(0.5, 2.0)
            with _bad(proxy, word, random):
                time.sleep(min(left, lasts_s))
            self.struck[word] += 1
            time.sleep(max(0.0, min(pause_s, deadline - time.monotonic())))

    def _catch_up(self, processes: list[ClientProcess]) -> None:
        """In good weather every reader has to get samples of every stream again."""
        self.not_recovered += sum(not recovered for recovered in _tell_all(processes, "catch up"))


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Have Ctrl-C wait until the process that is being started is known to whoever ends it."""
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, lambda number, _: came.append(number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        raise KeyboardInterrupt


def _tell_all(processes: list[ClientProcess], word: str, content: Any = None) -> list[Any]:
    for process in processes:
        process.tell(word, content)
    return [process.answer() for process in processes]


@contextmanager
def _bad(proxy: FaultProxy, word: str, random: Random) -> Iterator[None]:
    """Have one fault at work."""
    if word == "cut":
        proxy.cut()
    elif word == "freeze":
        proxy.freeze()
    elif word == "delay":
        proxy.delay(random.uniform(0.02, 0.4))
    elif word == "sever":
        proxy.inject(Sever(every=random.randint(5, 40)))
    elif word == "duplicate":
        proxy.inject(Duplicate(probability=0.3, copies=random.randint(1, 3)))
    elif word == "drop replies":
        proxy.inject(Drop(traffic="calls", direction="to_client", probability=0.3))
    elif word == "drop requests":
        proxy.inject(Drop(traffic="calls", direction="to_server", probability=0.3))
    else:
        proxy.inject(Drop(traffic="samples", probability=0.2))
    try:
        yield
    finally:
        proxy.clear()


def _settled(pids: dict[str, int], before: dict[str, Use | None] | None) -> dict[str, Use | None]:
    """What each process uses, when connections that are on their way out are gone: at the lowest within a while."""
    lowest = {name: Use.of(pid) for name, pid in pids.items()}
    deadline = time.monotonic() + (3.0 if before is None else 15.0)
    while time.monotonic() < deadline and (before is None or not _within_descriptors(before, lowest)):
        time.sleep(0.2)
        for name, pid in pids.items():
            now, low = Use.of(pid), lowest[name]
            if now is not None and low is not None and now.descriptors <= low.descriptors:
                lowest[name] = now
    return lowest


def _within_descriptors(before: dict[str, Use | None], after: dict[str, Use | None]) -> bool:
    return all(
        old is None or (new := after[name]) is None or new.descriptors <= old.descriptors
        for name, old in before.items()
    )


def _within_memory(before: dict[str, Use | None], after: dict[str, Use | None]) -> bool:
    return all(
        old is None or (new := after[name]) is None or new.bytes < 1.2 * old.bytes + 20 * MB
        for name, old in before.items()
    )


# --- the account -----------------------------------------------------------------------------------------------------

LOSSES: Final = ("delivered", "waiting", "dropped", "conflated", "dropped_upstream", "lost_on_the_way")


@dataclass
class Account:
    """What became of every call and every sample."""

    made: int = 0
    answered: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    unexplained: int = 0
    executed: int = 0
    twice: int = 0
    contradicted: int = 0
    longest_s: float = 0.0
    samples: Counter[str] = field(default_factory=Counter)
    for_readers: int = 0
    unaccounted: int = 0
    disordered: int = 0
    stale: int = 0
    troubles: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, soak: Soak) -> Account:
        account = cls()
        for report in soak.reports:
            account._add_calls(report, soak.executed[report["number"]])
            account._add_samples(report, soak.produced)
        return account

    def _add_calls(self, report: dict[str, Any], executed: bytes) -> None:
        said = bytes.fromhex(report["said"])
        self.made += len(said)
        self.answered += report["answered"]
        self.failed.update(report["failed"])
        self.unexplained += report["unexplained"] + (len(said) != report["answered"] + sum(report["failed"].values()))
        self.longest_s = max(self.longest_s, report["longest_s"])
        for number in range(max(len(said), len(executed))):
            word = said[number] if number < len(said) else NOT_RUN
            times = executed[number] if number < len(executed) else 0
            self.executed += times > 0
            self.twice += times > 1
            wrong = (word == RAN and times != 1) or (word == NOT_RUN and times > 0)
            self.contradicted += wrong
            if wrong or times > 1:
                text = report["errors"].get(str(number), "answered")
                self.troubles.append(f"client {report['number']}, call {number}: executed {times} times; {text}")
        if report["unexplained"]:
            self.troubles.append(f"client {report['number']}: unexplained: {report['strange']}")

    def _add_samples(self, report: dict[str, Any], produced: dict[str, int]) -> None:
        self.disordered += report["disordered"]
        for name, statistics in report["streams"].items():
            self.for_readers += produced[name]
            self.samples.update({word: statistics[word] for word in LOSSES})
            self.stale += statistics["stale"]
            missing = abs(produced[name] - sum(statistics[word] for word in LOSSES))
            self.unaccounted += missing
            if missing or not statistics["accounted"]:
                self.unaccounted += not statistics["accounted"]
                self.troubles.append(
                    f"client {report['number']}, {name}: produced {produced[name]}, {json.dumps(statistics)}"
                )

    @property
    def good(self) -> bool:
        """Whether every promise was kept that concerns calls and samples."""
        return not (self.unexplained or self.twice or self.contradicted or self.unaccounted or self.disordered)


def table(soak: Soak, account: Account) -> str:
    """Everything, for people."""
    lines = [f"{'clients, streams, seed':<34}{soak.clients}, {soak.streams}, {soak.seed}"]
    faults = ", ".join(f"{count} × {word}" for word, count in sorted(soak.struck.items()))
    faults = f"{f'faults in {60 * soak.minutes:g} s':<34}{soak.struck.total()}: {faults}"
    lines += textwrap.wrap(faults, 110, subsequent_indent=34 * " ")
    lines += ["", _row("calls made", account.made), _row("  answered", account.answered)]
    lines += [_row(f"  failed: {cause}", count) for cause, count in sorted(account.failed.items())]
    lines += [_row("calls unexplained", account.unexplained), _row("calls executed", account.executed)]
    lines += [_row("calls executed twice", account.twice)]
    lines += [_row("calls whose error was not true", account.contradicted)]
    lines += [f"{'longest call':<34}{account.longest_s:>12.1f} s (timeout {TIMEOUT_S:g} s)"]
    lines += ["", _row("samples produced", sum(soak.produced.values()))]
    lines += [_row("samples for all readers", account.for_readers)]
    lines += [_row(f"  {word.replace('_', ' ')}", account.samples[word]) for word in LOSSES]
    lines += [_row("samples accounted", account.samples.total()), _row("samples unaccounted", account.unaccounted)]
    lines += [_row("samples out of order", account.disordered), _row("(came twice, ignored)", account.stale)]
    lines += [_row("groups that did not recover", soak.not_recovered), ""]
    lines.append(f"{'after warm-up → at the end':<34}{'memory / MB':>18}{'descriptors':>18}")
    lines += [_use_row(name, first, soak.last[name]) for name, first in soak.first.items()]
    return "\n".join([*lines, *account.troubles[:20]])


def _row(name: str, count: int) -> str:
    return f"{name:<34}{count:>12}"


def _use_row(name: str, first: Use | None, last: Use | None) -> str:
    if first is None or last is None:
        return f"{name:<34}{'?':>18}{'?':>18}"
    memory = f"{first.bytes / MB:.1f} → {last.bytes / MB:.1f}"
    return f"{name:<34}{memory:>18}{f'{first.descriptors} → {last.descriptors}':>18}"


def main(arguments: list[str] | None = None) -> int:
    """Run the soak; the exit code."""
    parser = argparse.ArgumentParser(description="Many clients, streams and faults at once; then an account of it all.")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--streams", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--visit", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.visit:
        visit(json.loads(given.visit))
        return 0
    if not 0.0 < given.minutes < 1e6 or given.clients < 2 or given.streams < 3:
        parser.error("a soak takes some time, 2 clients and 3 streams at least")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    soak = Soak(given.minutes, given.clients, given.streams, given.seed)
    try:
        soak.run()
    except KeyboardInterrupt:
        print("interrupted; everything is closed", file=sys.stderr)
        return 130
    account = Account.of(soak)
    print(table(soak, account))
    memory, descriptors = _within_memory(soak.first, soak.last), _within_descriptors(soak.first, soak.last)
    good = account.good and memory and descriptors and not soak.not_recovered
    print("\n" + ("all accounted for" if good else f"FAILED (memory {memory}, descriptors {descriptors})"))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
