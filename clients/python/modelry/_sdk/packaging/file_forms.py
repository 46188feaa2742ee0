"""Whether a file begins as those do that hold pickles, whatever its name is."""

from __future__ import annotations

import pickletools
import tarfile
from pathlib import Path

_BEGINNINGS = (
    *(b"PK\x03\x04", b"PK\x05\x06", b"\x93NUMPY", b"\x89HDF\r\n"),  # zip, as PyTorch writes it, and containers
    *(b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x5d\x00\x00", b"\x04\x22\x4d\x18", b"\x28\xb5\x2f\xfd"),  # compressed
    *(b"x\x01", b"x\x5e", b"x\x9c", b"x\xda", b"ZF0x"),  # compressed with zlib, as joblib does
    *(b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"),  # pickles since protocol 2
)
_IMPORTS = {"EXT1", "EXT2", "EXT4", "GLOBAL", "STACK_GLOBAL"}
_ARGUMENTS = {"EMPTY_TUPLE", "MARK", "TUPLE1", "TUPLE2", "TUPLE3"}
_CALLS = {"NEWOBJ", "NEWOBJ_EX", "OBJ", "REDUCE"}
_MOST_STEPS = 20_000
"""A text has a few at most that a pickle could have."""
_LONGEST = 64 * 2**20


def may_be_pickled(file: Path) -> bool:
    """Whether a file is a pickle or an archive by its form, or too long to tell. Raises OSError if it can't be read."""
    with file.open("rb") as opened:
        start = opened.read(16)
    if start.startswith(_BEGINNINGS) or file.stat().st_size > _LONGEST:
        return True
    return tarfile.is_tarfile(file) or _runs_as_a_pickle(file)


def _runs_as_a_pickle(file: Path) -> bool:
    """Whether a pickle without a header, of protocol 0 or 1, would call something before it is found to be none.

    Many texts begin as one: a line `cat` and a line `dog` import `dog` from `at`. What no call follows is harmless.
    """
    seen: set[str] = set()
    last = ""
    with file.open("rb") as opened:
        try:
            for step, (opcode, _, _) in enumerate(pickletools.genops(opened)):
                name = opcode.name
                has_arguments = bool(seen & _ARGUMENTS)
                if name == "INST" and has_arguments:
                    return True
                if seen & _IMPORTS and (
                    (name in _CALLS and has_arguments) or (name == "BUILD" and last not in _IMPORTS)
                ):
                    return True
                if step > _MOST_STEPS:
                    return True
                seen.add(name)
                last = name
        except (ValueError, KeyError, IndexError, OverflowError):
            return False
    return False
