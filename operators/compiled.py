"""One decorator for every compiled loop, so that results are the same on every machine of a CPU family.

No fast-math (it may reorder sums), NumPy's error model (division by zero gives inf, as NumPy does), and a cache on
disk: the first run of a fresh install compiles, later ones load.

Numba knows a cached loop by its own file alone: after a change to a helper in another file it would go on using the old
code. So the cache lies in a folder named after the hash of all sources beside this one, under `NUMBA_CACHE_DIR` if that
is set. Processes share it, and write to it one at a time.
"""

import contextlib
import fcntl
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

_SOURCES = Path(__file__).parent


def _sources_hash() -> str:
    digest = blake2b(digest_size=8)
    for path in sorted(_SOURCES.rglob("*.py")):
        digest.update(str(path.relative_to(_SOURCES)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


_settings: Any = numba.config  # its names come from the environment, so the stubs know none
_settings.CACHE_DIR = str(Path(_settings.CACHE_DIR or _SOURCES / "__pycache__") / f"tidegate-{_sources_hash()}")

Loop = TypeVar("Loop", bound=Callable[..., Any])

Int = Any
"""Type of an integer inside compiled code: `int` in the source, one of NumPy's once compiled; the checker knows neither
to be the other."""


Records = Any
"""Type of an array of a structured type, of which compiled code reads `array[i].field`; the checker knows no fields."""


def _one_writer(loop: Any) -> Any:
    """Let no two processes write the loop's cache at once.

    Numba looks for a number that is free in the index and writes the code under it. Two that compile other signatures
    at the same moment find the same one, and the index would call the code of the second that of the first.
    """
    files = getattr(getattr(loop, "_cache", None), "_cache_file", None)
    if files is None:  # Numba is switched off, or caches nothing here
        return loop
    write = files.save

    def save(key: object, code: object) -> None:
        with Path(files._cache_path, "lock").open("ab") as lock:  # noqa: SLF001  Numba tells it nobody
            with contextlib.suppress(OSError):  # a file system without locks: as without this
                fcntl.flock(lock, fcntl.LOCK_EX)
            write(key, code)

    files.save = save
    return loop


def compiled(loop: Loop) -> Loop:
    """Compile `loop` with Numba in nopython mode, keeping its Python signature for the type checker."""
    return cast("Loop", _one_writer(numba.njit(cache=True, error_model="numpy", fastmath=False, nogil=True)(loop)))


def inlined(loop: Loop) -> Loop:
    """Compile a small helper that is called inside other compiled loops; LLVM inlines it there."""
    return cast("Loop", _one_writer(numba.njit(cache=True, error_model="numpy", fastmath=False, inline="never")(loop)))


def borrowing(loop: Loop) -> Loop:
    """Compile a helper or loop that only borrows its arrays: it must neither allocate, keep nor return one.

    Without Numba's reference counts, which otherwise cost a call per array, view and helper.
    """
    options: dict[str, Any] = {"_nrt": False}  # Numba's own name for it, missing in its stubs
    return cast(
        "Loop", _one_writer(numba.njit(cache=True, error_model="numpy", fastmath=False, nogil=True, **options)(loop))
    )
