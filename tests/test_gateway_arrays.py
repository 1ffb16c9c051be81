"""Stored arrays: what is no array, room that two want at once, indices that are given once."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the gateway needs one_liner[gateway]")

import numpy as np

from one_liner.gateway import Settings
from one_liner.gateway.arrays import ArrayProblem, ArrayStore, FolderShelf, MemoryShelf, npy_bytes, read_npy
from tests.web import PATIENCE_S


@pytest.mark.parametrize(("shape", "dtype"), [((10**12, 0), "<f8"), ((0, 10**12, 0), "<i2"), ((10**12,), "|S0")])
def test_a_shape_that_takes_no_room_until_it_is_written_is_refused(shape: tuple[int, ...], dtype: str) -> None:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    with pytest.raises(ArrayProblem) as refused:
        read_npy(io.BytesIO(file.getvalue()), file.tell())
    assert refused.value.status_code == 400
    empty = npy_bytes(np.zeros((0, 3)))
    assert read_npy(io.BytesIO(empty), len(empty)).shape == (0, 3)


def test_two_uploads_at_once_do_not_share_the_room_that_one_has(monkeypatch: pytest.MonkeyPatch) -> None:
    entered, go_on = threading.Event(), threading.Event()
    put = MemoryShelf.put

    def put_slowly(self: MemoryShelf, index: int, array: Any) -> int:
        entered.set()
        assert go_on.wait(PATIENCE_S)
        return put(self, index, array)

    monkeypatch.setattr(MemoryShelf, "put", put_slowly)
    store = ArrayStore(Settings(arrays=1))
    problems: list[ArrayProblem] = []

    def add() -> None:
        try:
            store.add(np.zeros(3))
        except ArrayProblem as problem:
            problems.append(problem)

    threads = [threading.Thread(target=add, name=f"upload {number}") for number in range(2)]
    threads[0].start()
    assert entered.wait(PATIENCE_S)
    threads[1].start()
    threads[1].join(0.2)  # The second one may get as far as it likes.
    go_on.set()
    for thread in threads:
        thread.join()
    assert (len(store), [problem.status_code for problem in problems]) == (1, [507])


def test_an_index_is_not_given_again_after_a_restart(tmp_path: Path) -> None:
    store = ArrayStore(Settings(array_dir=tmp_path))
    assert [store.add(np.zeros(3)).number for _ in range(3)] == [0, 1, 2]
    store.remove(2)
    (tmp_path / "000007.npy").write_bytes(b"damaged")
    again = ArrayStore(Settings(array_dir=tmp_path))
    assert again.add(np.zeros(3)).number == 8
    again.remove(8)
    assert ArrayStore(Settings(array_dir=tmp_path)).add(np.zeros(3)).number == 9
    (tmp_path / "last_deleted.txt").write_text("no number")  # Somebody else wrote it: the files tell.
    assert FolderShelf(tmp_path).first_free() == 10


def test_an_array_that_is_deleted_while_it_is_asked_for_is_gone(tmp_path: Path) -> None:
    for store in (ArrayStore(Settings()), ArrayStore(Settings(array_dir=tmp_path))):
        number = store.add(np.zeros(3)).number
        store._shelf.remove(number)
        with pytest.raises(ArrayProblem) as problem:
            store.get(number)
        assert problem.value.status_code == 404
