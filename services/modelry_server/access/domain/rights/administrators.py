"""Somebody must be able to administer the installation: what rules of principals, groups and bindings share."""

from collections.abc import Iterator
from contextlib import contextmanager

from modelry_server.access.errors import LastAdministrator
from modelry_server.access.store import administrators as store
from modelry_server.kernel.sql.statements import Transaction

ROLE = "admin"
"""The role of who may do everything; bound for the whole installation, that of an administrator."""


def exists(tx: Transaction) -> bool:
    """Whether an enabled principal has the role `admin` for the whole installation, itself or through groups.

    Groups that only an issuer says don't count: the issuer can take them away, and nobody would be left.
    """
    return store.any_enabled(tx, ROLE)


def require_one_left(tx: Transaction) -> None:
    """Call it after a change, in its transaction, which must hold the lock of `journal.begin`.

    Raises LastAdministrator if nobody is left.
    """
    if not exists(tx):
        raise LastAdministrator


@contextmanager
def keeping_one(tx: Transaction) -> Iterator[None]:
    """A block that takes something away. Where nobody administers yet, such as without authentication, all may go.

    Raises LastAdministrator at its end if there was one before and nobody is left.
    """
    had_one = exists(tx)
    yield
    if had_one:
        require_one_left(tx)
