"""From a peer's bytes to its answer: who is asked, who waits, what was answered before.

Handlers run on workers, everything else on one thread, that of the port; `post` brings back there what ends elsewhere.
So no handler delays the port, and nothing here needs a lock. Whoever is not answered within `patience_s` is told that
the command goes on; its end is published then.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Callable
from functools import partial

from one_liner.clock import Clock
from one_liner.control.handlers import Handler, Handlers
from one_liner.control.later import Later
from one_liner.control.numbers import Catalogue, ErrorKind, Result
from one_liner.control.record import Entry, Record
from one_liner.control.request import CommandRequest
from one_liner.control.response import Answer, CommandResponse
from one_liner.control.workers import Workers
from one_liner.errors import MalformedError, RefusedError
from one_liner.limits import Limits
from one_liner.rpc.lanes import Occupant
from one_liner.rpc.permission import AllowList

Envelope = list[bytes]
_GOES_ON = CommandResponse(Result.PENDING_WITH_NOTIFICATION)
_log = logging.getLogger("one_liner.control.desk")


class Ticket:
    """One command that is being carried out; waits in a lane like a call.

    Args:
        entry: what was asked for, and by whom.
        handler: who carries it out.
    """

    is_tick = False
    __slots__ = ("began", "entry", "handler", "told")

    def __init__(self, entry: Entry, handler: Handler) -> None:
        self.entry, self.handler = entry, handler
        self.began = False
        self.told = False  # whether somebody was told that it goes on, and so has to be told of the end

    @property
    def request(self) -> CommandRequest:
        """What was asked for."""
        return self.entry.request

    @property
    def where(self) -> str:
        """What it does, for people."""
        return self.request.name

    @property
    def who(self) -> str:
        """For whom, for people."""
        return self.request.peer


class Desk:
    """Carries commands out. All methods are for the thread of the port.

    Args:
        commands: the application's.
        handlers: who carries them out.
        workers: where.
        send: answers somebody.
        publish: tells everybody the end of a command that was still going on when it was answered.
        post: has a function called on the thread of the port; from any thread.
        clock: the time.
        limits: how many commands may be under way.
        patience_s: how long an answer is waited for, where the handler says nothing else.
        clients: who may do what, by public key; None when everybody may everything.
    """

    def __init__(
        self,
        *,
        commands: Catalogue,
        handlers: Handlers,
        workers: Workers,
        send: Callable[[Envelope, bytes], None],
        publish: Callable[[bytes], object],
        post: Callable[[Callable[[], None]], None],
        clock: Clock,
        limits: Limits,
        patience_s: float,
        clients: AllowList | None = None,
    ) -> None:
        self._commands, self._handlers, self._workers = commands, handlers, workers
        self._send, self._publish, self._post = send, publish, post
        self._clock, self._limits, self._patience_s = clock, limits, patience_s
        self._clients = clients
        self._record = Record()
        self._tickets: dict[Ticket, None] = {}
        self._overdue: list[tuple[float, int, Ticket]] = []  # a heap: whose patience ends first is in front
        self._count = 0
        self._under_way: dict[bytes, int] = {}

    def receive(self, envelope: Envelope, payload: list[bytes], key: str | None = None) -> None:
        """Take a command in; it is answered now or later, always.

        Args:
            envelope: what the answer has to begin with; its first frame is the connection.
            payload: the frames behind it.
            key: the peer's, at a secured port.
        """
        connection, now = envelope[0], self._clock.now()
        try:
            if len(payload) != 1:
                raise MalformedError(f"a command is one frame behind the empty one, not {len(payload)}")
            request = CommandRequest.read(payload[0], self._commands, f"peer {connection.hex()}")
        except MalformedError as error:
            _log.debug("answered what could not be read, from %s: %s", connection.hex(), error)
            self._send(envelope, CommandResponse(Result.UNRECOGNIZED, error_message=str(error)).written().body)
            return
        handler = self._handlers.find(request)
        if handler is None:
            self._refuse(envelope, request, Result.UNAVAILABLE, f"nobody here carries out {request.name}")
            return
        if self._clients is not None:
            try:
                handler.permit(self._clients.find(key), request.name)
            except RefusedError as error:
                self._refuse(envelope, request, Result.FAILED, str(error))
                return
        known = self._record.find(connection, request, now)
        if known is not None and known.request.digest == request.digest:
            self._answer_again(known, envelope)
        elif known is not None and known.ended is None:
            self._refuse(envelope, request, Result.FAILED, f"{_nonce(known)}, which still goes on; use another")
        else:
            self._begin(envelope, request, handler, now)

    def timeout_s(self) -> float | None:
        """Until when there is nothing to do here; None for any time."""
        return max(0.0, self._overdue[0][0] - self._clock.now()) if self._overdue else None

    def remind(self) -> None:
        """Tell those who have waited long enough that it goes on."""
        now = self._clock.now()
        while self._overdue and self._overdue[0][0] <= now:
            ticket = heapq.heappop(self._overdue)[-1]
            if ticket in self._tickets and ticket.entry.answer is None:
                request = ticket.request
                self._take(ticket, _GOES_ON.answering(request.number, request.nonce).written(final=False))

    def tell(self, answer: Answer) -> None:
        """The application says itself how a command ended that it had answered with PENDING_WITH_NOTIFICATION."""
        wanted = answer.fields["command"], answer.fields["nonce"]
        for entry in self._record:
            same = (entry.request.number, entry.request.nonce) == wanted
            if same and entry.ended is not None and entry.answer is not None and entry.answer.is_pending:
                entry.answer = answer

    def close(self) -> None:
        """Tell everybody who waits that the service stops."""
        for ticket in list(self._tickets):
            lane = ticket.handler.lane
            waited = not ticket.began or (lane is not None and lane.withdraw(ticket))
            fate = "it did not run" if waited else "it may or may not have come to its end"
            request = ticket.request
            response = CommandResponse(
                Result.UNAVAILABLE,
                error_kind=ErrorKind.SYSTEM_ERROR,
                error_message=f"the service was stopped before {ticket.where} had ended: {fate}",
            )
            self._take(ticket, response.answering(request.number, request.nonce).written())

    def _begin(self, envelope: Envelope, request: CommandRequest, handler: Handler, now: float) -> None:
        connection = envelope[0]
        if (
            len(self._tickets) >= self._limits.calls
            or self._under_way.get(connection, 0) >= self._limits.calls_per_client
        ):
            self._refuse(envelope, request, Result.UNAVAILABLE, "too many commands are under way; this one did not run")
            return
        ticket = Ticket(Entry(connection, request, waiting=[envelope]), handler)
        if not handler.urgent:  # To stop twice does no harm; not to stop, because a peer does not count, would.
            self._record.begin(ticket.entry)
        self._tickets[ticket] = None
        self._under_way[connection] = self._under_way.get(connection, 0) + 1
        patience_s = self._patience_s if handler.patience_s is None else handler.patience_s
        self._count += 1
        heapq.heappush(self._overdue, (now + patience_s, self._count, ticket))
        if handler.lane is None or handler.lane.enter(ticket, now):
            self._workers.employ(partial(self._carry_out, ticket), urgent=handler.urgent)

    def _answer_again(self, known: Entry, envelope: Envelope) -> None:
        if known.answer is None:
            known.waiting.append(envelope)
            return
        then = "this is its answer" if known.answer.final else "it still goes on"
        message = f"{_nonce(known)}: {then}, and nothing was done again"
        self._send(envelope, known.answer.with_message(message).body)

    def _refuse(self, envelope: Envelope, request: CommandRequest, result: Result, message: str) -> None:
        response = CommandResponse(result, error_message=message).answering(request.number, request.nonce)
        self._send(envelope, response.written().body)

    def _take(self, ticket: Ticket, answer: Answer) -> None:
        """There is an answer: to those who wait, or at the end to everybody."""
        if ticket not in self._tickets:
            return  # It was answered for by `close`.
        entry = ticket.entry
        entry.answer = answer
        for envelope in entry.waiting:
            self._send(envelope, answer.body)
        entry.waiting.clear()
        if not answer.final:
            ticket.told = True
            return
        if ticket.told and not answer.is_pending:
            self._publish(answer.body)
        del self._tickets[ticket]
        left = self._under_way[entry.connection] - 1
        if left:
            self._under_way[entry.connection] = left
        else:
            del self._under_way[entry.connection]
        self._record.end(entry, self._clock.now())

    # --- on a worker -------------------------------------------------------------------------------------------------

    def _carry_out(self, ticket: Ticket) -> None:
        """Call the handler, and then those that waited in its lane: a change of thread takes longer than most."""
        following: Occupant | None = ticket
        while isinstance(following, Ticket):
            following.began = True
            self._deliver(following, _call(following))
            lane = following.handler.lane
            following = None if lane is None else lane.leave(self._clock.now())

    def _deliver(self, ticket: Ticket, value: CommandResponse | Later) -> None:
        request = ticket.request
        if not isinstance(value, Later):
            # Written here: large data would hold the port up.
            answer = _written(value.answering(request.number, request.nonce))
            self._post(partial(self._take, ticket, answer))
            return
        if value.response is None:
            goes_on = CommandResponse(Result.PENDING_WITH_NOTIFICATION, value.data)
            answer = _written(goes_on.answering(request.number, request.nonce), final=False)
            self._post(partial(self._take, ticket, answer))
        value.when_finished(lambda response: self._deliver(ticket, response))


def _call(ticket: Ticket) -> CommandResponse | Later:
    try:
        value = ticket.handler.function(ticket.request)
    except BaseException as error:
        # Not only Exception: a driver that calls sys.exit must not take a thread of the service with it.
        _log.exception("the handler of %s raised", ticket.where)
        return CommandResponse.of_error(error)
    return value if isinstance(value, Later) else CommandResponse.of(value)


def _written(response: CommandResponse, *, final: bool = True) -> Answer:
    """What a handler gave may raise when it is looked at; those that wait in its lane must not wait for ever."""
    try:
        return response.written(final=final)
    except Exception as error:
        _log.exception("the answer to command %d cannot be written", response.command)
        return CommandResponse.of_error(error).answering(response.command, response.nonce).written(final=final)


def _nonce(known: Entry) -> str:
    return f"nonce {known.request.nonce} was used before, for {known.request.name}"
