"""Measures how long access takes to say what a principal may do, on SQLite and PostgreSQL.

    python tests/bench/grants.py [principals] [bindings] [--joined 3] [--explain]

A tenth as many groups as principals are three deep in each other; each principal is in `--joined` of them, and one more
is given by its credential. A tenth of the bindings are those of groups. A transaction is part of what is measured, and
so is opening a connection for the first one. Also what administrators look for. `--explain` shows how the databases go
about it.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import sqlalchemy as sa

from modelry_server.access.domain.rights import administrators
from modelry_server.access.domain.rights.grants import effective
from modelry_server.access.entities import Member
from modelry_server.access.store import administrators as administrator_rows
from modelry_server.access.store import bindings, grants, groups, principals, tables
from modelry_server.access.store.bindings import Visible, Wanted
from modelry_server.databases import migrations
from modelry_server.kernel.access import Place
from modelry_server.kernel.ids import new_id
from modelry_server.kernel.sql.database import Database
from modelry_server.kernel.sql.statements import Transaction
from modelry_server.permissions import ROLES
from tests.parts import postgres

CHECKS = 300
PAGE = 100


def filled(db: Database, principals: int, bindings: int, joined: int) -> list[str]:
    """Writes rows of a large installation; the ids of its principals."""
    chance = random.Random(7)
    people = [new_id() for _ in range(principals)]
    groups = [f"group-{number}" for number in range(max(3 * joined, principals // 10))]
    third = len(groups) // 3
    times = {"description": "", "create_time": 1, "update_time": 1, "revision": 1}
    same = {"display_name": "", "issuer": "", "external_id": "", "owner_id": "", "not_before": 0, "is_disabled": False}
    same["groups"] = "{}"
    times_of_people = {"create_time": 1, "update_time": 1, "revision": 1, "kind": 1, "groups": "[]"}
    members = {(group, member) for member in people for group in chance.sample(groups[:third], joined)}
    nested = {(above, below) for below in groups[:third] for above in chance.sample(groups[third : 2 * third], 1)}
    nested |= {(above, below) for below in groups[third : 2 * third] for above in chance.sample(groups[2 * third :], 1)}
    places = [("", "", "")] + [
        (f"team-{number}", "", "") if number % 3 else (f"team-{number}", str(number), "") for number in range(500)
    ]
    bound = {
        (role, is_group, chance.choice(groups if is_group else people), *chance.choice(places[1:]))
        for number in range(bindings)
        for is_group in [number % 10 == 0]
        for role in [chance.choice([*ROLES, "custom"])]
    }
    bound.add(("admin", True, groups[-1], "", "", ""))
    columns = ("role", "is_group", "subject", "workspace", "experiment_id", "model_id")
    with db.write() as tx:
        tx.execute(
            sa.insert(tables.principals),
            [{"principal_id": each, "name": each, **same, **times_of_people} for each in people],
        )
        tx.execute(sa.insert(tables.groups), [{"name": each, **times} for each in groups])
        tx.execute(sa.insert(tables.roles).values(name="custom", permissions='["runs.read"]', **times))
        tx.execute(
            sa.insert(tables.group_members),
            [{"group_name": group, "member": each, "is_group": False} for group, each in members]
            + [{"group_name": group, "member": each, "is_group": True} for group, each in nested],
        )
        tx.execute(
            sa.insert(tables.role_bindings),
            [
                {"binding_id": new_id(), "creator_id": "", "create_time": 1, **dict(zip(columns, each, strict=True))}
                for each in bound
            ],
        )
    if db.url.get_backend_name() == "postgresql":
        with db.write() as tx:
            tx.execute(sa.text("ANALYZE"))  # as autovacuum does after so many rows
    return people


def milliseconds(action: Callable[[], object]) -> float:
    """How long an action takes."""
    began = time.perf_counter()
    action()
    return 1000 * (time.perf_counter() - began)


def measured(db: Database, people: list[str]) -> None:
    """Prints how long checks took."""
    chance = random.Random(11)
    asked = [(chance.choice(people), frozenset({f"group-{chance.randrange(100)}"})) for _ in range(CHECKS)]

    def check(principal_id: str, given: frozenset[str]) -> None:
        with db.read() as tx:
            effective(tx, principal_id, given)

    def administered() -> None:
        with db.read() as tx:
            assert administrators.exists(tx)

    with db.read() as tx:
        sizes = [len(grants.bound_to(tx, each, grants.groups_of(tx, each, given))) for each, given in asked[:100]]
    db.backend.engine.dispose()
    first = milliseconds(lambda: check(*asked[0]))
    began = time.process_time()
    times = sorted(milliseconds(lambda each=each: check(*each)) for each in asked)  # type: ignore[misc]
    own = 1000 * (time.process_time() - began) / CHECKS
    admin = statistics.median(milliseconds(administered) for _ in range(100))
    print(
        f"{db.url.get_backend_name()}: {statistics.median(sizes):.0f} bindings each; first on a new connection "
        f"{first:.2f} ms, median {statistics.median(times):.2f} ms, 99 % below {times[CHECKS * 99 // 100]:.2f} ms, "
        f"fastest {times[0]:.2f} ms, {own:.2f} ms of them in this process; whether somebody administers: {admin:.2f} ms"
    )


def explained(db: Database, principal_id: str) -> None:
    """Prints how the database goes about the statements."""
    is_postgres = db.url.get_backend_name() == "postgresql"
    with db.read() as tx:
        joined = list(grants.groups_of(tx, principal_id, ["group-1"]))
        for query, values in (
            (grants._GROUPS, {"principal": principal_id, "given": ["group-1"]}),
            (grants._BOUND, {"principal": principal_id, "groups": joined}),
            (administrator_rows._DIRECT, {"role": "admin"}),
            (administrator_rows._THROUGH_GROUPS, {"role": "admin"}),
        ):
            text = query.params(values).compile(
                tx.engine, compile_kwargs={"literal_binds": True, "render_postcompile": True}
            )
            how = "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF)" if is_postgres else "EXPLAIN QUERY PLAN"
            for row in tx.exec_driver_sql(f"{how} {str(text).replace('%%', '%')}"):
                print("   ", row[0] if is_postgres else row[3])
            print()


def looked_for(db: Database, people: list[str], *, explain: bool) -> None:
    """Prints how long the pages take that administrators look for."""
    everything = Visible(everything=True)
    with db.read() as tx:
        middle = bindings.page(tx, everything, Wanted(), "", 50_000)[-1].binding_id
    there = Wanted(Place("team-1"), role="approver")
    actions: dict[str, Callable[[Transaction], object]] = {
        "a binding": lambda tx: bindings.find(tx, middle),
        "the groups of a principal": lambda tx: groups.page(tx, "", PAGE, member=Member(people[0])),
        "the groups of a group": lambda tx: groups.page(tx, "", PAGE, member=Member("group-1", is_group=True)),
        "bindings of a role": lambda tx: bindings.page(tx, everything, Wanted(role="approver"), middle, PAGE),
        "bindings of a role that few have": lambda tx: bindings.page(tx, everything, Wanted(role="rare"), "", PAGE),
        "bindings of a role in a workspace": lambda tx: bindings.page(tx, everything, there, "", PAGE),
        "people by a part of their name": lambda tx: principals.page(tx, "", PAGE, name_contains="no such name"),
    }
    for name, action in actions.items():

        def ask(action: Callable[[Transaction], object] = action) -> None:
            with db.read() as tx:
                action(tx)

        print(f"    {name}: {statistics.median(milliseconds(ask) for _ in range(50)):.2f} ms")
        if explain:
            plan(db, action)


def plan(db: Database, action: Callable[[Transaction], object]) -> None:
    """Prints how the database goes about what an action asks."""
    is_postgres = db.url.get_backend_name() == "postgresql"
    how = "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF)" if is_postgres else "EXPLAIN QUERY PLAN"
    asked: list[tuple[str, Any]] = []

    def note(connection: object, cursor: object, statement: str, values: Any, *others: object) -> None:
        asked.append((statement, values))

    with db.read() as tx:
        sa.event.listen(tx, "before_cursor_execute", note)
        action(tx)
        sa.event.remove(tx, "before_cursor_execute", note)
        for statement, values in asked:
            for row in tx.exec_driver_sql(f"{how} {statement}", values):
                print("       ", row[0] if is_postgres else row[3])


@contextmanager
def databases() -> Iterator[list[str]]:
    """The URLs of an empty SQLite and an empty PostgreSQL."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        with postgres.running(Path(folder, "postgres")) as server, server.database() as url:
            yield [f"sqlite:///{folder}/access.db", url]


def main() -> None:
    """Prints a line for each database."""
    options = argparse.ArgumentParser()
    options.add_argument("principals", type=int, nargs="?", default=10_000)
    options.add_argument("bindings", type=int, nargs="?", default=100_000)
    options.add_argument("--joined", type=int, default=3)
    options.add_argument("--explain", action="store_true")
    wanted = options.parse_args()
    with databases() as urls:
        for url in urls:
            db = Database(url, room="access", migrations=migrations("access"))
            db.upgrade()
            people = filled(db, wanted.principals, wanted.bindings, wanted.joined)
            measured(db, people)
            looked_for(db, people, explain=wanted.explain)
            if wanted.explain:
                explained(db, people[0])
            db.close()


if __name__ == "__main__":
    main()
