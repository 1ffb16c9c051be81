"""Who may do what: tables, lists of names, limits and those that send garbage. Arithmetic, without a socket."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from one_liner.errors import ConfigurationError, LimitError, RefusedError
from one_liner.limits import DEFAULT_LIMITS, Limits, check_limits
from one_liner.rpc.nuisance import Nuisances
from one_liner.rpc.permission import ROLE_OF_KIND, ROLE_OF_WORD, AllowList, Permission, Role
from one_liner.server import RouterServer
from one_liner.wire.codec import Codec
from one_liner.wire.messages import Kind

READ, CONTROL, ADMIN = (Permission(role, name="Anna") for role in Role)


def _may(permission: Permission, *args: Any, **kwargs: Any) -> bool:
    try:
        permission.check(*args, **kwargs)
    except RefusedError:
        return False
    return True


# --- roles -----------------------------------------------------------------------------------------------------------


def test_roles_have_words() -> None:
    assert [role.word for role in Role] == ["read", "control", "admin"]
    assert [Role.of(role.word) for role in Role] == list(Role)
    assert Role.of(Role.ADMIN) is Role.ADMIN


@pytest.mark.parametrize("word", ["", "READ", "owner", None, 1])
def test_a_role_that_does_not_exist(word: Any) -> None:
    with pytest.raises(ConfigurationError, match="a role is read, control, admin"):
        Role.of(word)


@pytest.mark.parametrize(
    ("need", "arguments"),
    [
        (Role.READ, (Kind.HEARTBEAT, "")),
        (Role.READ, (Kind.GET, "stage")),
        (Role.READ, (Kind.CANCEL, "stage")),
        (Role.READ, (Kind.ASK_AGAIN, "stage")),
        (Role.READ, (Kind.CONTROL, "", "describe")),
        (Role.READ, (Kind.CONTROL, "cam", "publish_marker")),
        (Role.CONTROL, (Kind.CALL, "stage")),
        (Role.CONTROL, (Kind.SET, "stage")),
        (Role.CONTROL, (Kind.CALL_NAMED, "home")),
        (Role.CONTROL, (Kind.CONTROL, "cam", "enable_stream")),
        (Role.CONTROL, (Kind.CONTROL, "stage", "take_lease")),
        (Role.ADMIN, (Kind.CONTROL, "cam", "add_stream")),
        (Role.ADMIN, (Kind.CONTROL, "cam", "remove_stream")),
        (Role.ADMIN, (Kind.CONTROL, "stage", "take_lease_by_force")),
        (Role.ADMIN, (Kind.CONTROL, "", "what comes later")),
        (Role.ADMIN, (63, "stage")),
    ],
)
def test_what_needs_which_role(need: Role, arguments: tuple[Any, ...]) -> None:
    assert [_may(permission, *arguments) for permission in (READ, CONTROL, ADMIN)] == [
        role >= need for role in (Role.READ, Role.CONTROL, Role.ADMIN)
    ]


def test_what_is_declared_read_only_may_be_called_by_readers() -> None:
    assert _may(READ, Kind.CALL, "stage", read_only=True)
    assert _may(READ, Kind.CALL_NAMED, "where", read_only=True)


def test_a_refusal_says_who_and_what_was_needed() -> None:
    with pytest.raises(
        RefusedError, match="calling 'stage' needs the role control, and 'Anna' has the role read"
    ) as no:
        READ.check(Kind.CALL, "stage")
    assert no.value.details == {"who": "Anna", "role": "read", "needed": "control"}
    with pytest.raises(RefusedError, match="add_stream cam needs the role admin, and this client has"):
        Permission(Role.READ).check(Kind.CONTROL, "cam", "add_stream")


def test_every_request_and_every_word_of_a_server_has_a_role() -> None:
    requests = {kind for kind in Kind if kind < Kind.RESULT}
    assert requests - set(ROLE_OF_KIND) == {Kind.CONTROL}
    with RouterServer(rpc_port=0, broadcast_port=0) as server:
        assert set(server._controls) | {"take_lease_by_force"} == set(ROLE_OF_WORD)


# --- lists of names --------------------------------------------------------------------------------------------------

RESTRICTED = Permission(Role.ADMIN, frozenset(("stage", "rig.lamp", "north/laser", "south", "home", "cam")), "Anna")


@pytest.mark.parametrize(
    ("path", "reached"),
    [
        ("stage", True),
        ("stage.x", True),
        ("stage.x.y", True),
        ("stages", False),
        ("stag", False),
        ("rig", False),
        ("rig.lamp", True),
        ("rig.lamps", False),
        ("north", False),
        ("north/laser", True),
        ("north/laser.diode", True),
        ("north/stage", False),
        ("south/anything.x", True),
        ("", False),
        (".stage", False),
        ("/stage", False),
    ],
)
@pytest.mark.parametrize("kind", [Kind.CALL, Kind.GET, Kind.SET])
def test_a_list_restricts_to_its_names_and_what_is_in_them(kind: Kind, path: str, reached: bool) -> None:
    assert _may(RESTRICTED, kind, path) is reached
    assert _may(ADMIN, kind, path)


def test_a_named_call_is_reached_by_its_name_or_by_its_object() -> None:
    assert _may(RESTRICTED, Kind.CALL_NAMED, "home", obj_name="laser")
    assert _may(RESTRICTED, Kind.CALL_NAMED, "up", obj_name="stage")
    assert not _may(RESTRICTED, Kind.CALL_NAMED, "up", obj_name="laser")
    assert not _may(RESTRICTED, Kind.CALL_NAMED, "up")


def test_streams_are_read_by_everybody_and_changed_by_name() -> None:
    assert _may(RESTRICTED, Kind.CONTROL, "secret", "publish_marker")
    assert _may(RESTRICTED, Kind.CONTROL, "", "describe")
    assert _may(RESTRICTED, Kind.CONTROL, "cam", "disable_stream")
    assert not _may(RESTRICTED, Kind.CONTROL, "secret", "disable_stream")


def test_a_new_stream_needs_its_name_and_its_object() -> None:
    assert _may(RESTRICTED, Kind.CONTROL, "cam", "add_stream", obj_name="stage")
    assert not _may(RESTRICTED, Kind.CONTROL, "cam", "add_stream", obj_name="laser")
    assert not _may(RESTRICTED, Kind.CONTROL, "laser", "add_stream", obj_name="stage")


def test_a_restricted_client_cannot_have_the_whole_server() -> None:
    with pytest.raises(RefusedError, match="'Anna' may not reach the whole server; the key is restricted to cam, home"):
        RESTRICTED.check(Kind.CONTROL, "", "take_lease")
    with pytest.raises(RefusedError, match="restricted to nothing"):
        Permission(Role.CONTROL, frozenset()).check(Kind.GET, "stage")


def test_heartbeats_act_on_no_name() -> None:
    assert _may(Permission(Role.READ, frozenset()), Kind.HEARTBEAT, "")


# --- the list of clients ---------------------------------------------------------------------------------------------


def test_changes_hold_at_once() -> None:
    clients = AllowList({"a": READ})
    assert (clients.find("a"), clients.find("b"), clients.find(None)) == (READ, None, None)
    clients.allow("b", ADMIN)
    clients.allow("a", CONTROL)
    assert (clients.find("a"), clients.admits("b"), len(clients)) == (CONTROL, True, 2)
    assert clients.disallow("a")
    assert not clients.disallow("a")
    assert not clients.admits("a")


# --- limits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0, -1, "5", None, True, float("nan"), float("inf"), 1.5])
def test_a_limit_is_a_positive_number(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="limits: depth is a number above 0"):
        Limits(depth=value)


def test_limits_are_limits() -> None:
    assert Limits(ignored_s=0.5).ignored_s == 0.5
    assert check_limits(None) is DEFAULT_LIMITS
    own = Limits(clients=3)
    assert check_limits(own) is own
    with pytest.raises(ConfigurationError, match="limits is a one_liner"):
        check_limits({"clients": 3})


@pytest.mark.parametrize(
    "value",
    [
        [None] * 1001,
        [[]] * 1001,
        [[0] * 100] * 11,
        {number: number for number in range(501)},
        {"a": [0] * 1001},
        [tuple([0] * 600), set(range(600))],
        (((tuple([0] * 1001),),),),
    ],
)
def test_a_message_with_too_many_items_is_refused(value: Any) -> None:
    body, _ = Codec().encode(value)
    with pytest.raises(LimitError, match="more than 1000 items"):
        Codec(max_elements=1000).decode(body)
    assert Codec().decode(body) == value


def test_long_texts_and_many_bytes_are_few_items() -> None:
    value = ["x" * 5000, b"y" * 5000, ["z" * 30] * 100, (1, 2)]
    body, _ = Codec().encode(value)
    assert Codec(max_elements=200).decode(body) == value


def test_depth_holds_for_large_messages_too() -> None:
    value: Any = ["x" * 5000]
    for _ in range(20):
        value = [value]
    body = msgpack.packb(value)
    with pytest.raises(Exception, match="nested deeper than 10 levels"):
        Codec(max_depth=10, max_elements=1000).decode(body)


# --- garbage ---------------------------------------------------------------------------------------------------------


def test_one_that_sends_too_much_garbage_is_ignored_for_a_while() -> None:
    nuisances = Nuisances(Limits(malformed=3, ignored_s=10.0))
    assert [nuisances.note(b"bad", now) for now in (0.0, 1.0)] == [1, 2]
    assert not nuisances.ignored
    assert nuisances.note(b"bad", 2.0) == 3
    assert nuisances.ignored
    assert nuisances.ignores(b"bad", 11.9)
    assert not nuisances.ignores(b"good", 11.9)
    assert not nuisances.ignores(b"bad", 12.0)
    assert not nuisances.ignored
    assert nuisances.note(b"bad", 12.0) == 1


def test_now_and_then_is_forgiven() -> None:
    nuisances = Nuisances(Limits(malformed=2, ignored_s=1.0))
    assert [nuisances.note(b"clumsy", 2.0 * turn) for turn in range(5)] == [1] * 5


def test_what_is_remembered_of_them_is_bounded() -> None:
    nuisances = Nuisances(Limits(malformed=1, ignored_s=10.0))
    for number in range(3000):
        nuisances.note(b"%d" % number, 0.0)
    assert len(nuisances.ignored) == 1000
    assert nuisances.ignores(b"2999", 1.0)
