"""Who counts as an administrator of the installation."""

from __future__ import annotations

import pytest

from modelry_server.access.domain.rights import administrators
from modelry_server.access.errors import LastAdministrator
from modelry_server.kernel.access import Place
from modelry_server.kernel.sql.database import Database
from tests.server.access import written


def exists(db: Database) -> bool:
    """Whether there is an administrator."""
    with db.read() as tx:
        return administrators.exists(tx)


def test_without_a_binding_there_is_none(db: Database) -> None:
    with db.write() as tx:
        written.a_principal(tx)

        with pytest.raises(LastAdministrator):
            administrators.require_one_left(tx)


def test_who_is_bound_directly_counts_while_enabled(db: Database) -> None:
    with db.write() as tx:
        ann = written.a_principal(tx)
        written.bind(tx, "admin", ann)
    assert exists(db)

    with db.write() as tx:
        written.disable(tx, ann)
    assert not exists(db)


def test_who_is_in_a_group_in_a_group_counts_while_enabled(db: Database) -> None:
    with db.write() as tx:
        ann = written.a_principal(tx)
        written.a_group(tx, "team", people=[ann])
        written.a_group(tx, "unit", groups=["team"])
        written.bind(tx, "admin", "unit", is_group=True)
    assert exists(db)

    with db.write() as tx:
        written.disable(tx, ann)
    assert not exists(db)


def test_an_empty_group_an_unknown_principal_and_admins_of_less_do_not_count(db: Database) -> None:
    with db.write() as tx:
        ann = written.a_principal(tx)
        written.a_group(tx, "empty")
        written.a_group(tx, ann)
        written.bind(tx, "admin", "empty", is_group=True)
        written.bind(tx, "admin", ann, is_group=True)
        written.bind(tx, "admin", "b" * 32)
        written.bind(tx, "admin", ann, Place("default"))
        written.bind(tx, "writer", ann)

    assert not exists(db)


def test_where_nobody_administers_yet_all_may_go(db: Database) -> None:
    with db.write() as tx, administrators.keeping_one(tx):
        pass


def test_the_last_one_may_not_go(db: Database) -> None:
    with db.write() as tx:
        ann = written.a_principal(tx)
        written.bind(tx, "admin", ann)

    with pytest.raises(LastAdministrator), db.write() as tx, administrators.keeping_one(tx):
        written.disable(tx, ann)

    assert exists(db)
