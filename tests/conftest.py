"""Fixtures: the real parts that tests run on. A part is started once for all tests, and only when one asks for it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from importlib import metadata
from pathlib import Path
from typing import TypeVar

import pytest

from modelry_server.targets import ROOMS
from tests.parts import PartMissing, in_ci, minio, oidc_provider, pgbouncer, postgres
from tests.parts import deployment as deployments

DATABASES = ["sqlite", "postgres"] + (["postgres15"] if os.environ.get("MODELRY_TEST_OLDEST_POSTGRES") == "1" else [])
Part = TypeVar("Part")
# Many tests compare all files or all metrics of a run. A snapshot takes a process of git, and seconds on a busy
# machine, where some tests also take longer than the period of system metrics. Tests of the fluent functions and of
# what a run records of itself turn them on. Heartbeats are on.
os.environ.setdefault("MODELRY_SNAPSHOT", "0")
os.environ.setdefault("MODELRY_CONSOLE", "0")
os.environ.setdefault("MODELRY_SYSTEM_METRICS", "0")
MISSING = pytest.StashKey[dict[str, str]]()


@pytest.fixture(scope="session")
def parts_folder() -> Iterator[Path]:
    """A folder for the files of started parts, open to the user that PostgreSQL runs as."""
    folder = Path(tempfile.mkdtemp(prefix="modelry-parts-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server(request: pytest.FixtureRequest, parts_folder: Path) -> Iterator[postgres.PostgresServer]:
    """The newest PostgreSQL that is to be had."""
    yield from _started(request, "PostgreSQL", postgres.running(parts_folder / "postgres"))


@pytest.fixture(scope="session")
def oldest_postgres_server(request: pytest.FixtureRequest, parts_folder: Path) -> Iterator[postgres.PostgresServer]:
    """The oldest PostgreSQL that is supported."""
    yield from _started(request, "PostgreSQL 15", postgres.oldest(parts_folder / "postgres15"))


@pytest.fixture
def own_postgres_server(request: pytest.FixtureRequest, parts_folder: Path) -> Iterator[postgres.PostgresServer]:
    """A PostgreSQL that nobody else uses, and that can be paused."""
    folder = Path(tempfile.mkdtemp(prefix="own-postgres-", dir=parts_folder))
    yield from _started(request, "PostgreSQL", postgres.own(folder))


@pytest.fixture(scope="session")
def minio_server(request: pytest.FixtureRequest, parts_folder: Path) -> Iterator[minio.MinioServer]:
    """A real MinIO."""
    yield from _started(request, "MinIO", minio.running(parts_folder / "minio"))


@pytest.fixture
def own_minio_server(request: pytest.FixtureRequest, parts_folder: Path) -> Iterator[minio.MinioServer]:
    """A MinIO that nobody else uses, and that can be paused."""
    folder = Path(tempfile.mkdtemp(prefix="own-minio-", dir=parts_folder))
    yield from _started(request, "MinIO", minio.own(folder))


@pytest.fixture(scope="session", name="oidc_provider")
def kept_oidc_provider(request: pytest.FixtureRequest, parts_folder: Path) -> Iterator[oidc_provider.OidcProvider]:
    """A real OpenID provider, kept for all tests: leave its keys and its process alone. It knows ada, a researcher."""
    users = {"ada": {"groups": ["researchers"]}}
    yield from _started(request, "an OpenID provider", oidc_provider.running(parts_folder / "oidc", users=users))


@pytest.fixture
def own_oidc_provider(request: pytest.FixtureRequest, parts_folder: Path) -> Iterator[oidc_provider.OidcProvider]:
    """An OpenID provider that nobody else uses, whose keys can be rotated, and that can be stopped."""
    folder = Path(tempfile.mkdtemp(prefix="own-oidc-", dir=parts_folder))
    users = {"ada": {"groups": ["researchers"]}}
    yield from _started(request, "an OpenID provider", oidc_provider.running(folder, users=users))


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The SQLAlchemy URL of an empty database, once for each database that is supported."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'modelry.db'}"
        return
    fixture = "postgres_server" if request.param == "postgres" else "oldest_postgres_server"
    server: postgres.PostgresServer = request.getfixturevalue(fixture)
    with server.database() as url:
        yield url


@pytest.fixture(scope="session", params=DATABASES)
def kept_database_url(request: pytest.FixtureRequest, parts_folder: Path) -> Iterator[str]:
    """The SQLAlchemy URL of a database that is kept for all tests: use things of your own in it."""
    if request.param == "sqlite":
        yield f"sqlite:///{parts_folder / 'kept.db'}"
        return
    fixture = "postgres_server" if request.param == "postgres" else "oldest_postgres_server"
    server: postgres.PostgresServer = request.getfixturevalue(fixture)
    with server.database() as url:
        yield url


@pytest.fixture
def pooled_database_url(
    request: pytest.FixtureRequest, postgres_server: postgres.PostgresServer, parts_folder: Path
) -> Iterator[str]:
    """The SQLAlchemy URL of an empty database behind a PgBouncer with three connections, lent by transaction."""
    with postgres_server.database() as url:
        yield from _started(request, "PgBouncer", pgbouncer.pooling(url, parts_folder, connections=3))


# One program and four, and both databases; the tests can't tell which.
DEPLOYMENTS = ["all-sqlite", "split-postgres"]
ON_ONE = (
    "tests/python/autologging/",
    "tests/python/evaluating/",
    "tests/python/observing/",
    "tests/python/packaging/test_wrong_options.py",
)
"""What is tested on the first of them only: what it logs goes the way that the tests of that way try on both."""


@pytest.fixture(scope="session", params=DEPLOYMENTS)
def deployment(request: pytest.FixtureRequest) -> deployments.Deployment:
    """The platform at work, kept for all tests: use names of your own in it, and leave its processes alone."""
    running: deployments.Deployment = request.getfixturevalue(request.param.replace("-", "_"))
    return running


# Fixtures of their own, without parameters: pytest ends one with parameters whenever the next file begins with another.
@pytest.fixture(scope="session")
def all_sqlite(parts_folder: Path) -> Iterator[deployments.Deployment]:
    """The deployment in one process."""
    with deployments.running("all", parts_folder / "all-sqlite") as running:
        yield running


@pytest.fixture(scope="session")
def split_postgres(parts_folder: Path, postgres_server: postgres.PostgresServer) -> Iterator[deployments.Deployment]:
    """The deployment in four processes."""
    with (
        postgres_server.database() as url,
        deployments.running("split", parts_folder / "split-postgres", dict.fromkeys(ROOMS, url)) as running,
    ):
        yield running


def _started(request: pytest.FixtureRequest, name: str, part: AbstractContextManager[Part]) -> Iterator[Part]:
    try:
        running = part.__enter__()
    except PartMissing as missing:
        if in_ci():
            pytest.fail(str(missing), pytrace=False)
        request.config.stash.setdefault(MISSING, {})[name] = str(missing)
        pytest.skip(str(missing))
    try:
        yield running
    finally:
        part.__exit__(None, None, None)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what is tested `ON_ONE`, and marks what is tested through the stubs alone, for other runtimes."""
    if unstable := [item.nodeid for item in items if " at 0x" in item.nodeid]:
        raise pytest.UsageError(f"{unstable[0]} has another name in each process; give its parameters ids")
    left_out = {item for item in items if item.nodeid.startswith(ON_ONE) and DEPLOYMENTS[1] in item.name}
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent / "contract"):
            item.add_marker(pytest.mark.contract)


def pytest_report_header() -> str:
    """Says on which runtime the tests run."""
    return f"runtime: grpcio {metadata.version('grpcio')}, protobuf {metadata.version('protobuf')}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Says loudly which parts were missing: what they would have proved is not proved."""
    for name, reason in config.stash.get(MISSING, {}).items():
        terminalreporter.write_sep("!", f"NOT TESTED ON {name.upper()}", red=True, bold=True)
        terminalreporter.write_line(reason)
