"""Keys: how they are made, written down and read, and the list of those that a server lets in.

A key pair is two texts of 40 characters (Z85). The *public* one may be shown to anybody; whoever has the *secret* one
is its owner. `make` writes both into files: `anna.key`, which holds both and is readable by its owner only, and
`anna.pub` to hand out. The files have the format of ZeroMQ's certificates, so that other tools can read them.

A file of clients is TOML, and may be edited by hand:

    [[client]]
    key = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"
    role = "control"                # read, control or admin
    objects = ["laser", "stage"]    # all of them if left out
    name = "Anna's GUI"
"""

from __future__ import annotations

import logging
import os
import re
import stat
import struct
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias

import zmq
from zmq.utils import z85

from one_liner.errors import ConfigurationError
from one_liner.frozen import Frozen
from one_liner.rpc.permission import Permission

SECRET_SUFFIX: Final = ".key"
PUBLIC_SUFFIX: Final = ".pub"

_KEY_CHARACTERS = 40
_KEY = re.compile(r"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")
_LINE = re.compile(r"""\s*(public-key|secret-key)\s*=\s*(?:"([^"]*)"|'([^']*)'|(\S*))\s*""")
_CLIENT_ENTRIES = ("key", "role", "objects", "name")
_MAX_FILE_BYTES = 1 << 20
_log = logging.getLogger("one_liner.keys")


class KeyPair(Frozen):
    """Both parts of a key.

    Attributes:
        public: may be shown.
        secret: may not; it is left out of the `repr`.
    """

    public: str
    secret: str

    def __post_init__(self) -> None:
        """Check that the parts belong together.

        Raises:
            ConfigurationError: they do not, or one of them is no key.
        """
        check_key(self.public, "the public key")
        check_key(self.secret, "the secret key")
        if public_of(self.secret) != self.public:
            swapped = public_of(self.public) == self.secret
            raise ConfigurationError(
                f"the public and the secret key {'are swapped' if swapped else 'do not belong together'}"
            )

    def __repr__(self) -> str:
        return f"KeyPair(public={self.public!r})"

    @classmethod
    def new(cls) -> KeyPair:
        """A key pair that nobody has had before."""
        public, secret = zmq.curve_keypair()
        while public.startswith(b"-"):  # A command would take it for an option.
            public, secret = zmq.curve_keypair()
        return cls(public.decode(), secret.decode())


KeySource: TypeAlias = "KeyPair | str | os.PathLike[str]"
ClientsSource: TypeAlias = "str | os.PathLike[str] | Mapping[str, Any]"


def check_key(text: Any, what: str) -> str:
    """The text of one part of a key.

    Args:
        text: what was given.
        what: what it is for, to begin the message with.

    Raises:
        ConfigurationError: it is none; says why, without repeating it.
    """
    if not isinstance(text, str):
        raise ConfigurationError(f"{what} is a text of {_KEY_CHARACTERS} characters, not {type(text).__name__}")
    if not text:
        raise ConfigurationError(f"{what} is empty")
    if len(text) != _KEY_CHARACTERS:
        raise ConfigurationError(f"{what} has {len(text)} characters, a key has {_KEY_CHARACTERS}")
    if not _KEY.fullmatch(text):
        raise ConfigurationError(f"{what} is not Z85: it has characters that no key has")
    try:
        z85.decode(text)
    except (ValueError, struct.error):
        raise ConfigurationError(f"{what} is not Z85: its characters make no number") from None
    return text


def public_of(secret: str) -> str:
    """The public part that belongs to a secret one."""
    return zmq.curve_public(secret.encode()).decode()


# --- files -----------------------------------------------------------------------------------------------------------


def make(name: str, folder: str | os.PathLike[str] = ".", *, overwrite: bool = False) -> tuple[Path, Path]:
    """Make a key pair and write it into two files.

    Args:
        name: of the files, less their suffix: whose key it is.
        folder: where; it is made if it does not exist, for its owner only.
        overwrite: whether files of this name may be replaced. What they open is then lost.

    Returns:
        The file with both parts, for its owner, and the one with the public part, to hand out.

    Raises:
        ConfigurationError: the name is none for a file, the files exist already, or cannot be written.
    """
    if not isinstance(name, str) or not name or name != Path(name).name or name in (".", ".."):
        raise ConfigurationError(f"a key needs a name that a file can have, not {name!r}")
    place = Path(folder)
    secret_file, public_file = place / (name + SECRET_SUFFIX), place / (name + PUBLIC_SUFFIX)
    for path in (secret_file, public_file):
        if _exists(path) and not overwrite:
            raise ConfigurationError(
                f"{path} exists already; it is replaced only with --force, and its key is then lost"
            )
    keys = KeyPair.new()
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(
            secret_file,
            f"# The key of {name}: whoever has this file is {name}. Keep it where it is, and send {public_file.name}.\n"
            f'curve\n    public-key = "{keys.public}"\n    secret-key = "{keys.secret}"\n',
            0o600,
        )
        _write(
            public_file,
            f'# The public key of {name}, to hand out.\ncurve\n    public-key = "{keys.public}"\n',
            0o644,
        )
    except OSError as error:
        raise ConfigurationError(f"the key cannot be written to {place}: {error.strerror or error}") from None
    return secret_file, public_file


def read_pair(source: KeySource) -> KeyPair:
    """Both parts of a key, from its file.

    Raises:
        ConfigurationError: naming the file and what is wrong with it.
    """
    if isinstance(source, KeyPair):
        return source
    path = _path_of(source, "keys is the path of a key file, or a KeyPair")
    parts = _parts_of(path)
    if "secret-key" not in parts:
        raise ConfigurationError(
            f"{path} holds a public key only; what is needed is the file with the secret one, *.key"
        )
    _check_private(path)
    secret = check_key(parts["secret-key"], f"{path}: the secret key")
    public = check_key(parts.get("public-key", public_of(secret)), f"{path}: the public key")
    try:
        return KeyPair(public, secret)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from None


def read_public(source: str | os.PathLike[str]) -> str:
    """A public key, from its text or from a file.

    Raises:
        ConfigurationError: it is no key, or naming the file and what is wrong with it.
    """
    if isinstance(source, str) and _KEY.fullmatch(source):
        return check_key(source, "the public key")
    path = _path_of(source, f"a public key is a text of {_KEY_CHARACTERS} characters or the path of a file")
    if isinstance(source, str) and not _exists(path):
        raise ConfigurationError(
            f"{source!r} is neither a key ({_KEY_CHARACTERS} characters of Z85, this has {len(source)}) "
            "nor an existing file"
        )
    parts = _parts_of(path)
    if "public-key" not in parts:
        raise ConfigurationError(f"{path} holds no public key")
    return check_key(parts["public-key"], f"{path}: the public key")


def _path_of(source: Any, what: str) -> Path:
    if not isinstance(source, str | os.PathLike) or not os.fspath(source):
        raise ConfigurationError(f"{what}, not {source!r}")
    return Path(source).expanduser()


def _exists(path: Path) -> bool:
    """Whether there is something, as far as can be seen; a name that no file can have is not there."""
    try:
        return path.exists()
    except OSError:
        return False


def _parts_of(path: Path) -> dict[str, str]:
    """The lines of a key file that matter."""
    text = _read(path)
    if not text.strip():
        raise ConfigurationError(f"{path} is empty")
    parts: dict[str, str] = {}
    for line in text.splitlines():
        found = _LINE.fullmatch(line)
        if found is not None:
            parts[found[1]] = found[2] or found[3] or found[4] or ""
    if not parts:
        raise ConfigurationError(f"{path} is no key file: it has neither a public-key nor a secret-key")
    return parts


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise ConfigurationError(f"{path} does not exist") from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror or error}") from None
    if len(content) > _MAX_FILE_BYTES:
        raise ConfigurationError(f"{path} is larger than any file of keys")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path} is no text") from None


def _check_private(path: Path) -> None:
    """Refuse a secret that others on this machine can read."""
    if sys.platform == "win32":
        _log.info("who else may read %s is not checked on Windows; look at its properties, Security", path)
        return
    mode = path.stat().st_mode
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigurationError(
            f"{path} holds a secret key and can be read by others (mode {stat.S_IMODE(mode):04o}); mend it with: "
            f"chmod 600 {path}"
        )


def _write(path: Path, text: str, mode: int) -> None:
    """Write a file that nobody else can look into meanwhile, and that is either whole or not there."""
    draft = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


# --- who may come in -------------------------------------------------------------------------------------------------


def read_clients(source: ClientsSource | None) -> dict[str, Permission]:
    """The clients that a server lets in, by public key.

    Args:
        source: the path of a file; or by public key (or path of its file) a role, or a dict of `role`, `objects` and
            `name`, or a `Permission`.

    Raises:
        ConfigurationError: naming the file, the entry and what is wrong with it.
    """
    if source is None:
        return {}
    if isinstance(source, Mapping):
        clients: dict[str, Permission] = {}
        for key, value in source.items():
            with _named(f"clients[{key!r}]"):
                clients[read_public(key)] = _permission_of(value)
        return clients
    path = _path_of(source, "clients is the path of a file, or permissions by public key")
    return _entries_of(path)


def allow(
    path: str | os.PathLike[str],
    public: str | os.PathLike[str],
    role: str = "control",
    objects: Iterable[str] | None = None,
    name: str = "",
    *,
    overwrite: bool = False,
) -> None:
    """Add a client to a file of clients, which is made if it does not exist.

    A server reads its file when it is made; `RouterServer.allow` lets a client into one that runs.

    Args:
        path: the file.
        public: the client's public key, or the path of its file.
        role: "read", "control" or "admin".
        objects: names that it is restricted to; None for all.
        name: whose key it is, for people.
        overwrite: whether an entry of this key may be replaced; the comments in the file are then lost.

    Raises:
        ConfigurationError: an argument cannot be, the key is in the file already, or the file cannot be read or
            written. Nothing was changed.
    """
    key = read_public(public)
    permission = Permission.of(role, objects, name)
    place = _path_of(path, "a file of clients is given by its path")
    entries = _entries_of(place) if _exists(place) else {}
    text = _read(place) if _exists(place) else "# Who may use this server, and for what.\n"
    if key in entries:
        if not overwrite:
            raise ConfigurationError(f"{place} has this key already; its entry is replaced only with --force")
        text = "".join(_entry_text(other, known) for other, known in entries.items() if other != key)
    try:
        _write(place, text.rstrip("\n") + "\n" + _entry_text(key, permission), 0o644)
    except OSError as error:
        raise ConfigurationError(f"{place} cannot be written: {error.strerror or error}") from None


def _entries_of(path: Path) -> dict[str, Permission]:
    import tomllib  # Costs several milliseconds, and most programs have no file of clients.

    try:
        data = tomllib.loads(_read(path))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path} is no TOML: {error}") from None
    strangers = sorted(set(data) - {"client"})
    entries = data.get("client", [])
    if strangers or not isinstance(entries, list):
        raise ConfigurationError(
            f"{path} may hold entries [[client]] and nothing else, not {strangers or 'this client'}"
        )
    found: dict[str, Permission] = {}
    for number, entry in enumerate(entries, 1):
        with _named(f"{path}: client {number}"):
            if not isinstance(entry, dict) or "key" not in entry:
                raise ConfigurationError("there is no key")
            key = check_key(entry["key"], "the key")
            if key in found:
                raise ConfigurationError("this key was given before")
            found[key] = _permission_of({name: value for name, value in entry.items() if name != "key"})
    return found


def _permission_of(value: Any) -> Permission:
    if isinstance(value, Permission):
        return value
    if isinstance(value, str):
        return Permission.of(value)
    if not isinstance(value, Mapping):
        raise ConfigurationError(
            f"what a client may do is a role, or a dict with role, objects and name; not {value!r}"
        )
    unknown = sorted(str(key) for key in set(value) - set(_CLIENT_ENTRIES[1:]))
    if unknown:
        raise ConfigurationError(f"there is no {', '.join(unknown)}; there are {', '.join(_CLIENT_ENTRIES)}")
    if "role" not in value:
        raise ConfigurationError("there is no role")
    return Permission.of(value["role"], value.get("objects"), value.get("name", ""))


def _entry_text(key: str, permission: Permission) -> str:
    lines = ["", "[[client]]", f"key = {_toml(key)}", f"role = {_toml(permission.role.word)}"]
    if permission.objects is not None:
        lines.append(f"objects = [{', '.join(_toml(name) for name in sorted(permission.objects))}]")
    if permission.name:
        lines.append(f"name = {_toml(permission.name)}")
    return "\n".join(lines) + "\n"


def _toml(text: str) -> str:
    """A text as TOML writes it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in escaped) + '"'


@contextmanager
def _named(where: str) -> Iterator[None]:
    """Say in a configuration error where it happened."""
    try:
        yield
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}") from None
