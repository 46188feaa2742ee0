from __future__ import annotations

import ast
import importlib
import re

import pytest
import sqlalchemy as sa

from tests.architecture.tree import PROTOS, ROOMS, ROOT, SERVER, files, imports, nouns, parsed

PLAN = {
    *("__init__.py", "module.py", "config.py", "errors.py", "entities.py", "instruments.py", "clients.py", "jobs.py"),
    *("rpc", "domain", "store", "migrations"),
}
WITHOUT = {"access": {"clients.py"}}
"""What a room can do without, because it has nothing to say there. Access asks nobody."""
TABLES = ("config.py", "targets.py")
NAMED_IN_THE_KERNEL = {
    ("access.py", "workspace"),  # what a caller may do lies in one
    ("differences.py", "identity"),  # a kind of column, to SQLAlchemy
    ("telemetry.py", "event"),  # what happened, in a line of the log
    *(("syntax.py", scope) for scope in ("metric", "run", "dataset")),  # other names of scopes, the same for all nouns
}
"""Files of the kernel and the words in them that are nouns of the contract too."""


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_has_the_plan_and_nothing_else(room: str) -> None:
    found = {path.name for path in (SERVER / room).iterdir() if path.name != "__pycache__"}

    assert found == PLAN - WITHOUT.get(room, set())


@pytest.mark.parametrize("layer", ["rpc", "domain", "store"])
@pytest.mark.parametrize("room", ROOMS)
def test_each_noun_of_the_contract_has_its_file_in_each_layer(room: str, layer: str) -> None:
    found = {path.stem for path in (SERVER / room / layer).glob("*.py")}

    assert sorted(set(nouns(room)) - found) == []


@pytest.mark.parametrize("room", ROOMS)
def test_the_rpc_layer_holds_nothing_but_nouns(room: str) -> None:
    found = {path.stem for path in (SERVER / room / "rpc").glob("*.py")} - {"__init__"}

    assert sorted(found - set(nouns(room))) == []


@pytest.mark.parametrize("place", ["contract", "server"])
@pytest.mark.parametrize("room", ROOMS)
def test_each_noun_is_tested_through_its_contract_and_inside(room: str, place: str) -> None:
    found = {path.stem for path in (ROOT / "tests" / place / room).rglob("test_*.py")}

    assert sorted({f"test_{noun}" for noun in nouns(room)} - found) == []


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_asks_only_rooms_that_stand_below_it(room: str) -> None:
    inside = [path for path in files(".py") if path.is_relative_to(f"services/modelry_server/{room}")]
    asked = {
        (path.name, name.split(".")[2])
        for path in inside
        for name in imports(path)
        if name.startswith(("modelry.api.", "modelry.internal.")) and name.split(".")[2] in set(ROOMS) - {room}
    }

    assert {file for file, _ in asked} <= {"clients.py"}
    assert {other for _, other in asked} <= set(ROOMS[: ROOMS.index(room)])
    assert {other for _, other in asked} == set(importlib.import_module(f"modelry_server.{room}.module").NEIGHBOURS)


@pytest.mark.parametrize("room", ROOMS)
def test_the_page_of_a_room_names_the_tables_that_it_owns(room: str) -> None:
    page = importlib.import_module(f"modelry_server.{room}").__doc__ or ""
    tables = importlib.import_module(f"modelry_server.{room}.store.tables")

    owned = {
        name for metadata in vars(tables).values() if isinstance(metadata, sa.MetaData) for name in metadata.tables
    }

    assert owned
    assert sorted(name for name in owned if f"`{name}`" not in page) == []


def test_the_page_of_the_kernel_names_its_files_and_folders_and_nothing_else() -> None:
    kernel = SERVER / "kernel"
    page = importlib.import_module("modelry_server.kernel").__doc__ or ""
    listed = [name for line in re.findall(r"^- (.*?):", page, re.MULTILINE) for name in re.findall(r"`(\w+)`", line)]

    found = {path.stem for path in kernel.iterdir() if path.name not in {"__init__.py", "__pycache__"}}
    assert sorted(listed) == sorted(found)


def test_no_file_of_the_kernel_names_a_noun_of_the_contract() -> None:
    known = {path.name.removesuffix("_service.proto") for path in PROTOS.glob("*/*/v1/*_service.proto")}
    named = {
        (path.name, node.value)
        for path in files(".py")
        if path.is_relative_to("services/modelry_server/kernel")
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Constant) and node.value in known
    }

    assert {"run", "version"} <= known
    assert named == NAMED_IN_THE_KERNEL


def test_the_parts_of_the_server_are_the_rooms_and_what_stands_above_and_below_them() -> None:
    found = {path.name for path in SERVER.iterdir() if path.name != "__pycache__"}

    above = {"__init__.py", "__main__.py", *TABLES, "addresses.py", "databases.py", "identities.py", "py.typed"}
    assert found == {*above, *ROOMS, "mlflow_words.py", "permissions.py", "kernel"}


@pytest.mark.parametrize("table", TABLES)
def test_a_table_above_the_rooms_is_short_enough_to_read_at_once(table: str) -> None:
    assert len((SERVER / table).read_text().splitlines()) <= 100
