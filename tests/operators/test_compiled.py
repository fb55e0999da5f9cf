"""Numba's cache on disk is shared by processes: each finds its own code in it, whoever compiles beside it."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from operators.compiled import borrowing, compiled, inlined


def double(x):
    return 2 * x


@pytest.mark.parametrize("decorator", [compiled, inlined, borrowing])
def test_what_is_compiled_for_several_types_at_one_moment_is_found_under_each(decorator, tmp_path):
    files = decorator(double)._cache._cache_file
    files._cache_path = str(tmp_path)
    files._index_path = str(tmp_path / "double.nbi")
    read = files._load_index

    def read_slowly():
        found = read()
        time.sleep(0.02)  # as long as another needs to read it too
        return found

    files._load_index = read_slowly
    with ThreadPoolExecutor(6) as several:
        list(several.map(lambda number: files.save(f"type {number}", f"code of {number}"), range(6)))

    assert [files.load(f"type {number}") for number in range(6)] == [f"code of {number}" for number in range(6)]
    assert not list(Path(tmp_path).glob("*.tmp*"))
