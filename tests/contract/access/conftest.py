"""A platform that knows its callers: one process, and access alone on PostgreSQL. The tests can't tell which."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.parts import postgres
from tests.parts.locked import Locked, locked


@pytest.fixture(scope="package", params=["all", "split"])
def site(request: pytest.FixtureRequest, parts_folder: Path) -> Iterator[Locked]:
    """The platform at work, with an administrator."""
    folder = parts_folder / f"site-{request.param}"
    if request.param == "all":
        with locked("all", folder) as made:
            yield made
        return
    server: postgres.PostgresServer = request.getfixturevalue("postgres_server")
    with server.database() as url, locked("split", folder, database_urls={"access": url}, rooms=("access",)) as made:
        yield made
