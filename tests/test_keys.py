"""Keys, their files and the files of clients: what is written can be read, and what cannot be right says why."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from one_liner import credentials, keys
from one_liner.errors import ConfigurationError
from one_liner.keys import KeyPair
from one_liner.rpc.permission import Permission, Role

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no modes")


def _written(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


# --- pairs -----------------------------------------------------------------------------------------------------------


def test_a_pair_does_not_show_its_secret() -> None:
    pair = KeyPair.new()
    assert pair.public in repr(pair)
    assert pair.secret not in repr(pair)
    assert pair.secret not in str(pair)


def test_every_pair_is_another() -> None:
    assert len({KeyPair.new().public for _ in range(20)}) == 20


def test_the_parts_of_a_pair_belong_together() -> None:
    with pytest.raises(ConfigurationError, match="do not belong together"):
        KeyPair(KeyPair.new().public, KeyPair.new().secret)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        (None, "is a text of 40 characters, not NoneType"),
        (b"x" * 40, "not bytes"),
        ("x" * 39, "has 39 characters, a key has 40"),
        ("x" * 41, "has 41 characters"),
        ('"' * 40, "has characters that no key has"),
        (" " * 40, "has characters that no key has"),
        ("ä" * 40, "has characters that no key has"),
        ("#" * 40, "make no number"),
    ],
)
def test_what_is_no_key_says_why(text: Any, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason) as caught:
        keys.check_key(text, "the key")
    assert not text or repr(text) not in str(caught.value)


# --- files -----------------------------------------------------------------------------------------------------------


def test_what_is_made_can_be_read(tmp_path: Path) -> None:
    secret_file, public_file = keys.make("anna", tmp_path / "keys")
    pair = keys.read_pair(secret_file)
    assert (secret_file.name, public_file.name) == ("anna.key", "anna.pub")
    assert keys.read_pair(str(secret_file)) == pair
    assert keys.read_pair(pair) is pair
    assert keys.read_public(public_file) == keys.read_public(secret_file) == pair.public
    assert keys.read_public(pair.public) == pair.public
    assert pair.secret not in public_file.read_text(encoding="utf-8")


@posix_only
def test_a_secret_is_for_its_owner_only(tmp_path: Path) -> None:
    previous = os.umask(0)
    try:
        secret_file, _ = keys.make("anna", tmp_path / "keys")
    finally:
        os.umask(previous)
    assert stat.S_IMODE(secret_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(secret_file.parent.stat().st_mode) == 0o700


@posix_only
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_secret_that_others_can_read_is_not_used(tmp_path: Path, mode: int) -> None:
    secret_file, _ = keys.make("anna", tmp_path)
    secret_file.chmod(mode)
    with pytest.raises(ConfigurationError, match=f"mode {mode:04o}.*chmod 600 {secret_file}"):
        keys.read_pair(secret_file)
    keys.read_public(secret_file)


def test_on_windows_the_readers_of_a_secret_are_not_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    secret_file, _ = keys.make("anna", tmp_path)
    secret_file.chmod(0o666)
    monkeypatch.setattr(sys, "platform", "win32")
    with caplog.at_level("INFO", "one_liner.keys"):
        keys.read_pair(secret_file)
    assert "not checked on Windows" in caplog.text


def test_a_key_is_not_replaced_by_accident(tmp_path: Path) -> None:
    secret_file, public_file = keys.make("anna", tmp_path)
    before = keys.read_pair(secret_file)
    with pytest.raises(ConfigurationError, match=r"anna\.key exists already.*--force"):
        keys.make("anna", tmp_path)
    secret_file.unlink()
    with pytest.raises(ConfigurationError, match=r"anna\.pub exists already.*--force"):
        keys.make("anna", tmp_path)
    keys.make("anna", tmp_path, overwrite=True)
    assert keys.read_pair(secret_file) != before
    assert keys.read_public(public_file) == keys.read_pair(secret_file).public
    assert sorted(path.name for path in tmp_path.iterdir()) == ["anna.key", "anna.pub"]


@pytest.mark.parametrize("name", ["", "..", ".", "a/b", "/etc/passwd", None])
def test_a_key_needs_the_name_of_a_file(tmp_path: Path, name: Any) -> None:
    with pytest.raises(ConfigurationError, match="a name that a file can have"):
        keys.make(name, tmp_path)


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    place = _written(tmp_path / "file", "x")
    with pytest.raises(ConfigurationError, match="cannot be written"):
        keys.make("anna", place)


def test_a_certificate_of_zeromq_is_read(tmp_path: Path) -> None:
    pair = KeyPair.new()
    path = _written(
        tmp_path / "c.key_secret",
        f'#   ****  Generated by CZMQ  ****\nmetadata\n    name = "x"\ncurve\n    public-key = "{pair.public}"\n'
        f'    secret-key = "{pair.secret}"\n',
    )
    assert keys.read_pair(path) == pair


def test_the_public_part_may_be_missing_beside_the_secret(tmp_path: Path) -> None:
    pair = KeyPair.new()
    assert keys.read_pair(_written(tmp_path / "k", f"secret-key = '{pair.secret}'")) == pair


_OTHER = KeyPair.new()
_STRANGER = KeyPair.new()


def _with_keys(template: str) -> str:
    """With real keys in it. A test cannot be named after those: they are others in every process."""
    words = {"$PUBLIC": _OTHER.public, "$SECRET": _OTHER.secret, "$STRANGER": _STRANGER.public}
    for word, key in words.items():
        template = template.replace(word, key)
    return template


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "does not exist"),
        ("", "is empty"),
        (" \n\n", "is empty"),
        ("# nothing here\n", "is no key file"),
        ('public-key = "$PUBLIC"', "holds a public key only"),
        ('public-key = "$PUBLIC"\nsecret-key = "abc"', "the secret key has 3 characters"),
        ('public-key = "$PUBLIC"\nsecret-key = ""', "the secret key is empty"),
        (
            'public-key = "$PUBLIC"\nsecret-key = "||||||||||||||||||||||||||||||||||||||||"',
            "the secret key is not Z85",
        ),
        ('public-key = "$SECRET"\nsecret-key = "$PUBLIC"', "are swapped"),
        ('public-key = "$STRANGER"\nsecret-key = "$SECRET"', "do not belong together"),
        ('public-key = "x"\nsecret-key = "$SECRET"', "the public key has 1 characters"),
        ("\0" * (2 << 20), "larger than any file of keys"),
    ],
)
def test_a_bad_key_file_is_named_with_the_reason(tmp_path: Path, content: str | None, reason: str) -> None:
    path = tmp_path / "bad.key"
    if content is not None:
        _written(path, _with_keys(content))
    with pytest.raises(ConfigurationError, match=reason) as caught:
        keys.read_pair(path)
    assert str(path) in str(caught.value)
    assert _OTHER.secret not in str(caught.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x80")
    with pytest.raises(ConfigurationError, match="is no text"):
        keys.read_pair(binary)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        keys.read_pair(tmp_path)
    secret_only = _written(tmp_path / "s", f"secret-key = {_OTHER.secret}")
    with pytest.raises(ConfigurationError, match="holds no public key"):
        keys.read_public(secret_only)
    for nothing in ("", None, 5):
        with pytest.raises(ConfigurationError, match="the path of a key file"):
            keys.read_pair(nothing)  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="a public key is a text of 40 characters"):
            keys.read_public(nothing)  # type: ignore[arg-type]


def test_a_name_that_no_file_can_have() -> None:
    with pytest.raises(ConfigurationError, match=r"neither a key .* this has 5000\) nor an existing file"):
        keys.read_public("x" * 5000)


def test_what_is_neither_a_key_nor_a_file_is_told_apart() -> None:
    with pytest.raises(ConfigurationError, match=r"neither a key .* this has 3\) nor an existing file"):
        keys.read_public("abc")


# --- clients ---------------------------------------------------------------------------------------------------------


def test_clients_that_are_allowed_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "clients.toml"
    anna, bob, carl = KeyPair.new().public, KeyPair.new().public, KeyPair.new().public
    keys.allow(path, anna, "control", ["stage", "laser"], 'Anna\'s "GUI" \\ \n')
    keys.allow(path, bob)
    keys.allow(path, carl, "admin", [], "Carl")
    assert keys.read_clients(path) == {
        anna: Permission(Role.CONTROL, frozenset(("stage", "laser")), 'Anna\'s "GUI" \\ \n'),
        bob: Permission(Role.CONTROL),
        carl: Permission(Role.ADMIN, frozenset(), "Carl"),
    }


def test_comments_survive_what_is_added_behind_them(tmp_path: Path) -> None:
    path = _written(tmp_path / "clients.toml", "# ours\n")
    keys.allow(path, KeyPair.new().public)
    assert path.read_text(encoding="utf-8").startswith("# ours\n\n[[client]]\n")


def test_an_entry_is_not_replaced_by_accident(tmp_path: Path) -> None:
    path = tmp_path / "clients.toml"
    anna, bob = KeyPair.new().public, KeyPair.new().public
    keys.allow(path, anna)
    keys.allow(path, bob, "read")
    with pytest.raises(ConfigurationError, match=r"has this key already.*--force"):
        keys.allow(path, anna, "admin")
    keys.allow(path, anna, "admin", overwrite=True)
    assert {key: entry.role for key, entry in keys.read_clients(path).items()} == {bob: Role.READ, anna: Role.ADMIN}


def test_a_client_may_be_given_by_the_file_of_its_key(tmp_path: Path) -> None:
    _, public_file = keys.make("anna", tmp_path)
    keys.allow(tmp_path / "clients.toml", public_file, "read")
    assert list(keys.read_clients(tmp_path / "clients.toml")) == [keys.read_public(public_file)]
    assert list(keys.read_clients({str(public_file): "read"})) == [keys.read_public(public_file)]


def test_nothing_is_written_when_an_argument_cannot_be(tmp_path: Path) -> None:
    path = tmp_path / "clients.toml"
    for arguments in (("abc", "read", None), (_OTHER.public, "owner", None), (_OTHER.public, "read", "stage")):
        with pytest.raises(ConfigurationError):
            keys.allow(path, *arguments)
    assert not path.exists()
    with pytest.raises(ConfigurationError, match="cannot be written"):
        keys.allow(tmp_path / "no such folder" / "clients.toml", _OTHER.public)


def test_clients_in_a_script() -> None:
    permission = Permission(Role.ADMIN)
    entry = {"role": "read", "objects": ["stage"], "name": "Bob"}
    others = [KeyPair.new().public for _ in range(3)]
    assert keys.read_clients(dict(zip(others, ("control", entry, permission), strict=True))) == {
        others[0]: Permission(Role.CONTROL),
        others[1]: Permission(Role.READ, frozenset(["stage"]), "Bob"),
        others[2]: permission,
    }
    assert keys.read_clients(None) == {}


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("owner", "there is no role 'owner'; a role is read, control, admin"),
        (5, "a role, or a dict"),
        ({}, "there is no role"),
        ({"role": "read", "object": ["a"]}, "there is no object; there are key, role, objects, name"),
        ({"role": "read", "objects": "stage"}, "objects is a list of names"),
        ({"role": "read", "objects": [""]}, "and '' is none"),
        ({"role": "read", "name": 5}, "the name of a client is text"),
    ],
)
def test_a_bad_entry_in_a_script(entry: Any, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        keys.read_clients({_OTHER.public: entry})


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "does not exist"),
        ("[[client", "is no TOML"),
        ("[server]\n", r"not \['server'\]"),
        ("client = 5\n", r"may hold entries \[\[client\]\]"),
        ("client = [5]\n", "client 1: there is no key"),
        ('[[client]]\nrole = "read"\n', "client 1: there is no key"),
        ('[[client]]\nkey = "abc"\nrole = "read"\n', "client 1: the key has 3 characters"),
        ('[[client]]\nkey = "$PUBLIC"\n', "client 1: there is no role"),
        ('[[client]]\nkey = "$PUBLIC"\nrole = "boss"\n', "client 1: there is no role 'boss'"),
        ('[[client]]\nkey = "$PUBLIC"\nrole = "read"\n' * 2, "client 2: this key was given before"),
    ],
)
def test_a_bad_file_of_clients_is_named_with_the_reason(tmp_path: Path, content: str | None, reason: str) -> None:
    path = tmp_path / "clients.toml"
    if content is not None:
        path.write_text(_with_keys(content), encoding="utf-8")
    with pytest.raises(ConfigurationError, match=reason) as caught:
        keys.read_clients(path)
    assert str(path) in str(caught.value)


# --- what a server and a client were told ----------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in (credentials.KEYS_VARIABLE, credentials.SERVER_KEY_VARIABLE, credentials.CLIENTS_VARIABLE):
        monkeypatch.delenv(variable, raising=False)


def test_nothing_said_is_an_open_server() -> None:
    assert credentials.for_server("tcp", None, None) is None
    assert credentials.for_client("tcp", None, None) is None


def test_the_environment_says_what_the_script_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret_file, public_file = keys.make("anna", tmp_path)
    clients = tmp_path / "clients.toml"
    keys.allow(clients, public_file, "read")
    pair = keys.read_pair(secret_file)
    monkeypatch.setenv(credentials.KEYS_VARIABLE, str(secret_file))
    monkeypatch.setenv(credentials.SERVER_KEY_VARIABLE, str(public_file))
    monkeypatch.setenv(credentials.CLIENTS_VARIABLE, str(clients))
    assert credentials.for_server("tcp", None, None) == (pair, {pair.public: Permission(Role.READ)})
    assert credentials.for_client("ipc", None, None) == (pair, pair.public)
    assert credentials.for_server("tcp", _OTHER, {}) == (_OTHER, {})
    assert credentials.for_client("tcp", _OTHER, _OTHER.public) == (_OTHER, _OTHER.public)
    assert credentials.for_server("inproc", None, None) is None
    assert credentials.for_client("inproc", None, None) is None
    monkeypatch.setenv(credentials.KEYS_VARIABLE, "")
    assert credentials.for_server("tcp", None, None) is None


def test_half_of_what_is_needed_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="give it keys=… as well"):
        credentials.for_server("tcp", None, {})
    with pytest.raises(ConfigurationError, match="need the public key of the server, too"):
        credentials.for_client("tcp", _OTHER, None)
    with pytest.raises(ConfigurationError, match="needs keys of our own, too"):
        credentials.for_client("tcp", None, _OTHER.public)
    with pytest.raises(ConfigurationError, match="inproc cannot be secured"):
        credentials.for_server("inproc", _OTHER, None)
    with pytest.raises(ConfigurationError, match="inproc cannot be secured"):
        credentials.for_client("inproc", None, _OTHER.public)


def test_a_server_uses_its_own_keys_for_the_next_one() -> None:
    own = KeyPair.new()
    assert credentials.together(None, _OTHER.public, own) == (own, _OTHER.public)
    assert credentials.together(_OTHER, _OTHER.public, own) == (_OTHER, _OTHER.public)
    assert credentials.together(None, None, own) is None
