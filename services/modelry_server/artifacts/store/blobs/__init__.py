"""The object store: immutable content under random keys. Two implementations, one contract, one test suite."""

import re
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

PIECE = 1 << 20
"""Bytes of a piece of content, at most: what one message carries."""

_KEY = re.compile(r"[0-9a-f]{32}\Z")


class BlobMissing(Exception):
    """Nothing lies under the key, or not what was put there."""


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """An object in the store, or what a broken put left of one."""

    key: str
    modify_time: int
    """Milliseconds since the epoch, by the store's clock."""


class Blobs(Protocol):
    """Where content lies.

    A key is made by `new_key` and put once; what lies under it never changes until it is deleted. All methods may be
    called by several threads at once. All raise StoreUnavailable when the store does not answer or refuses; the same
    call may be made again then, except `put`, which needs a new key.
    """

    def put(self, key: str, pieces: Iterable[bytes], size: int) -> None:
        """Stores content of `size` bytes.

        When it returns, all of it lies under the key, also after a loss of power. Until then nothing does, for every
        reader. What `pieces` raises is raised on, and then nothing lies there. It is read no further than `size`
        bytes, and held in memory in small parts only. A process that is killed in the middle may leave something that
        `stored` lists and `delete` removes, but that no one can read.
        """

    def read(self, key: str, offset: int = 0) -> Iterator[bytes]:
        """The content from a byte on, in pieces of at most `PIECE` bytes. Raises BlobMissing, before the first piece.

        Closing the iterator gives back what it holds. An object that is deleted meanwhile may still be read to its end.
        """

    def stat(self, key: str) -> int | None:
        """The size of what lies under a key in bytes; None if nothing does."""

    def delete(self, key: str) -> None:
        """Removes what lies under a key, and what a broken put left there. Nothing there is fine."""

    def stored(self) -> Iterator[StoredBlob]:
        """All that is stored, in no order, also what broken puts left. What comes or goes meanwhile may be missing."""

    def close(self) -> None:
        """Gives back connections and files."""


def new_key() -> str:
    """A key that was never used: 32 random hexadecimal characters."""
    return secrets.token_hex(16)


def is_key(text: str) -> bool:
    """Whether a text has the form of a key."""
    return bool(_KEY.match(text))
