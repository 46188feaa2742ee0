"""Which code may know what kind of database is used, and which may go around SQLAlchemy."""

from __future__ import annotations

import ast

from tests.architecture.tree import files, imports, parsed

STATEMENTS = "modelry_server.kernel.sql.statements."
FOR_EVERYBODY = {"Transaction", "among", "insert"}
"""What plain SQLAlchemy needs of that module."""
HOT_PATHS = {
    *("artifacts/store/artifacts.py", "artifacts/store/digests.py", "artifacts/store/owners.py"),
    *("kernel/requests/idempotency.py", "tracking/store/datasets.py", "tracking/store/experiments.py"),
    *("tracking/store/heartbeats.py", "tracking/store/metrics.py", "tracking/store/runs.py"),
    *("registry/store/aliases.py", "registry/store/audit.py", "registry/store/events.py"),
    *("registry/store/models.py", "registry/store/promotions.py", "registry/store/snapshots.py"),
    *("registry/store/versions.py",),
}
"""Where compiled statements were measured to matter (ADR 6)."""
KINDS = {"kernel/sql/sqlite.py", "kernel/sql/postgres.py"}
ASKING = {
    "kernel/sql/database.py",  # chooses the backend
    "kernel/sql/differences.py",  # compares types as the database writes them
}


def test_only_hot_paths_use_compiled_statements() -> None:
    using = {
        str(path).removeprefix("services/modelry_server/")
        for path in files(".py")
        if str(path).startswith("services/")
        and {name.removeprefix(STATEMENTS) for name in imports(path) if name.startswith(STATEMENTS)} - FOR_EVERYBODY
    }

    assert using == HOT_PATHS


def test_only_the_backends_know_the_kind_of_database() -> None:
    asking = {
        f"{str(path).removeprefix('services/modelry_server/')}:{node.lineno}"
        for path in files(".py")
        if str(path).startswith("services/") and str(path).removeprefix("services/modelry_server/") not in KINDS
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Attribute) and node.attr in {"dialect", "get_backend_name", "drivername"}
    }

    assert {place.partition(":")[0] for place in asking} == ASKING, asking
