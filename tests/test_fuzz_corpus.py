"""The kept corpus of the fuzz targets, on every Python and without a fuzzer: what was found once stays mended."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fuzz.frames import joined, split
from fuzz.seeds import CORPUS, WORDS, seeds, words
from fuzz.targets import READERS, TARGETS, run
from one_liner.wire import extensions, messages
from one_liner.wire import reader as reader_module
from one_liner.wire import writer as writer_module
from one_liner.wire.codec import Codec
from one_liner.wire.messages import TOPIC_END, Encoding, Kind

ROOT = Path(__file__).parent.parent
INPUTS = sorted(path for path in CORPUS.glob("*/*") if path.is_file())
SEEDS = seeds()
MOST_BYTES = 300_000
HAS_ATHERIS = importlib.util.find_spec("atheris") is not None


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_kept_input_is_refused_or_read(path: Path) -> None:
    run(path.parent.name, path.read_bytes())


def test_the_corpus_is_what_its_script_makes_and_what_was_found() -> None:
    kept = {(path.parent.name, path.name): path.read_bytes() for path in INPUTS if not path.name.startswith("found-")}
    made = {(target, name): data for target, inputs in SEEDS.items() for name, data in inputs.items()}
    assert kept == made, "run python -m fuzz.seeds"
    assert WORDS.read_text(encoding="ascii") == words(), "run python -m fuzz.seeds"
    assert SEEDS.keys() == TARGETS.keys()
    assert sum(path.stat().st_size for path in INPUTS) < MOST_BYTES


def test_no_kind_of_message_encoding_or_extension_type_is_missing() -> None:
    heads = {target: [split(data)[0] for data in SEEDS[target].values()] for target in SEEDS}
    kinds = {head[3] & ~messages.REFUSE_IF_BUSY for head in heads["requests"] if head[2] == 1}
    kinds |= {head[3] for head in heads["replies"]}
    placed = [(head, head.find(TOPIC_END) + 1) for head in heads["samples"]]
    kinds |= {head[at + 3] for head, at in placed}
    assert kinds == set(Kind)
    encodings = {messages.SampleMessage.decode(*parts).encoding for parts in _samples()}
    assert encodings == set(Encoding)
    seen: set[int] = set()
    codec = Codec(allow_pickle=True)

    def noting(code: int, decode: Any) -> Any:
        return lambda reader, content: (seen.add(code), decode(reader, content))[1]

    decoders = dict(reader_module._DECODERS)
    with pytest.MonkeyPatch.context() as patch:
        for code, decode in decoders.items():
            patch.setitem(reader_module._DECODERS, code, noting(code, decode))
        for name, data in SEEDS["values"].items():
            if name not in ("registered", "claims-much"):
                codec.decode(*split(data))
    assert decoders.keys() - seen == {extensions.REGISTERED}, "of which there is one that is refused"


@pytest.mark.parametrize("name", ["hello", "streams", "description"])
def test_what_a_client_asks_for_is_among_the_seeds(name: str) -> None:
    head, buffers = split(SEEDS["replies"][name])
    value = Codec().decode(messages.Reply.decode(head, buffers).body)
    readers = dict(zip(("hello", "streams", "description"), READERS, strict=True))
    assert readers[name](value).as_dict().keys() >= value.keys()


def _samples() -> list[Any]:
    parts = [split(data) for name, data in SEEDS["samples"].items() if name != "ballast"]
    return [(head, head.find(TOPIC_END) + 1, buffers) for head, buffers in parts]


@pytest.mark.parametrize("frames", [[b""], [b"head"], [b"head", b"", b"x" * 70], [b""] * 5], ids=len)
def test_frames_come_back_from_an_input(frames: list[bytes]) -> None:
    first, further = split(joined(frames))
    assert [first, *further] == frames


@pytest.mark.parametrize("data", [b"", b"\4", b"\2\1", b"\3\xff\xff\xff\xff\xff\xffabc"], ids=repr)
def test_any_input_stands_for_frames(data: bytes) -> None:
    first, further = split(data)
    assert isinstance(first, bytes)
    assert len(further) <= 4


# --- a target that cannot fail would find nothing ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "name", "broken"),
    [
        ("values", "array", "one_liner.wire.arrays.load_array"),
        ("requests", "heartbeat", "fuzz.targets.read_heartbeat"),
        ("replies", "value-error", "fuzz.targets.error_of"),
        ("samples", "sample-json", "one_liner.wire.serializers.json.loads"),
        ("keys", "clients", "one_liner.keys.check_key"),
        ("scripts", "chances", "one_liner.testing.script._Line"),
    ],
)
def test_another_exception_is_a_finding(monkeypatch: pytest.MonkeyPatch, target: str, name: str, broken: str) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        # Whatever else a loader raises, the codec calls malformed.
        raise RecursionError("a bug") if target == "values" else KeyError("a bug")

    monkeypatch.setattr(broken, fail)
    with pytest.raises(Exception, match="a bug"):
        run(target, SEEDS[target][name])


def test_what_comes_back_as_something_else_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(writer_module._ENCODERS, tuple, lambda writer, value: list(value))
    with pytest.raises(AssertionError, match="came back as"):
        run("values", SEEDS["values"]["tuple"])


@pytest.mark.skipif(sys.platform == "win32", reason="Windows tells no high-water mark of memory")
def test_a_blow_up_of_memory_is_a_finding() -> None:
    program = (
        "import fuzz.targets\n"
        "def greedy(data): return len(bytearray(b'x') * (200 << 20))\n"
        "fuzz.targets.TARGETS['values'] = greedy\n"
        "fuzz.targets.run('values', b'')\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "MiB of memory" in ended.stderr


# --- the command line -------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not HAS_ATHERIS, reason="atheris is not installed: the fuzz section of .ci/run has it")
def test_a_run_reaches_branches_and_finds_nothing() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "fuzz", "--seconds", "3", "--target", "values"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    target, inputs, branches, _, findings = ended.stdout.splitlines()[1].split()
    assert (target, findings) == ("values", "none")
    assert int(inputs) > 1000
    assert int(branches) > 100


@pytest.mark.skipif(HAS_ATHERIS, reason="atheris is here")
def test_without_atheris_it_is_said_how_to_get_it() -> None:
    ended = subprocess.run([sys.executable, "-m", "fuzz"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "--group fuzz" in ended.stderr
