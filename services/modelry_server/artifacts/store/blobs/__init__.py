"""The object store: immutable content under random keys. Two implementations, one contract, one test suite."""

import re
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

PIECE = 256 << 10
"""Bytes of a piece of content, at most. A message carries one.

Measured on 1 GiB: its reader needed 1.8 s of CPU time, and 2.1 s with pieces of 1 MiB.
"""

_KEY = re.compile(r"[0-9a-f]{32}\Z")


class BlobMissing(Exception):
    """There is no object with the key, or it is not the one that was put."""


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """An object in the store, or the remains of a put that failed."""

    key: str
    modify_time: int
    """Milliseconds since the epoch, by the store's clock."""


class Blobs(Protocol):
    """The object store.

    A key is made by `new_key` and put once; its content never changes until it is deleted. All methods may be called by
    several threads at once. All raise StoreUnavailable if the store does not answer or refuses; the call may then be
    repeated, except `put`, which needs a new key.
    """

    def put(self, key: str, pieces: Iterable[bytes], size: int) -> None:
        """Stores content of `size` bytes.

        When it returns, the object is complete and survives a loss of power. Until then, no reader finds it. An error
        that `pieces` raises is passed on, and then nothing is stored. `pieces` is read up to `size` bytes, and held in
        memory in small parts only. A process that is killed during a put may leave remains, which `stored` lists and
        `delete` removes, but nobody can read.
        """

    def read(self, key: str, offset: int = 0) -> Iterator[bytes]:
        """The content from a byte on, in pieces of at most `PIECE` bytes. Raises BlobMissing, before the first piece.

        Closing the iterator releases its connection or file. An object that is deleted during a read may still be
        read to its end.
        """

    def stat(self, key: str) -> int | None:
        """The size of an object in bytes; None if there is none."""

    def delete(self, key: str) -> None:
        """Deletes an object, or the remains of a put that failed. Does nothing if there is none."""

    def stored(self) -> Iterator[StoredBlob]:
        """All objects and remains of failed puts, in no order. What is put or deleted meanwhile may be missing."""

    def close(self) -> None:
        """Closes connections and files."""


def new_key() -> str:
    """A new key: 32 random hexadecimal characters."""
    return secrets.token_hex(16)


def is_key(text: str) -> bool:
    """Whether a text has the form of a key."""
    return bool(_KEY.match(text))
