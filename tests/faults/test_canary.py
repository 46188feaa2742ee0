"""Secrets are put into all that holds one, then all sorts of things fail, then they are looked for everywhere."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import psycopg
import pytest
import sqlalchemy as sa

from modelry.api.access import v1 as access
from modelry.api.artifacts import v1 as artifacts
from modelry.api.registry import v1 as registry
from modelry.api.tracking import v1 as tracking
from modelry_server.targets import ROOMS
from tests.parts import free_port
from tests.parts.certificates import Authority
from tests.parts.deployment import REPOSITORY, START_S, Deployment, running, write
from tests.parts.eventually import eventually
from tests.parts.locked import Locked, Metadata, bearing
from tests.parts.postgres import PostgresServer
from tests.parts.refusal import unpacked
from tests.server.every_rpc import BUILD, make

PASSWORD = "canary-password-of-the-database-7f3a"
SERVICE_KEY = "canary-service-key-0123456789abcdef-41c2"
UNKNOWN = "mdy_t_" + "C4n4ry" * 6
JWT = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJjYW5hcnkifQ.canary-signature-9b1e"
CONTROL = "canary-that-is-no-secret"
"""The name of a workspace: an error and the debug log say that there is none. So it is found."""
JOB = """
import logging; logging.basicConfig(level=logging.DEBUG)
import modelry, sys
with modelry.start_run() as run:
    modelry.log_metric("loss", 1.0)
    modelry.log_text("text", "a.txt")
    print("logged", flush=True)
    sys.stdin.readline()
    modelry.log_metric("loss", 2.0, step=1)
    try:
        modelry.Client().runs.get("nothing")
    except Exception as error:
        print(repr(error), flush=True)
raise RuntimeError("the job fails")
"""


@dataclass
class Cage:
    """The secrets by name, and every place where one must not be, with what is there."""

    secrets: dict[str, str] = field(default_factory=dict)
    places: dict[str, bytes] = field(default_factory=dict)

    def look(self, place: str, content: str | bytes) -> None:
        """Notes what is at a place."""
        self.places[place] = self.places.get(place, b"") + (content.encode() if isinstance(content, str) else content)

    def look_at_files(self, folder: Path, besides: Iterable[Path] = ()) -> None:
        """Notes what is in the files of a folder."""
        for path in folder.rglob("*"):
            if path.is_file() and path not in set(besides):
                self.look(str(path.relative_to(folder)), path.read_bytes())

    def look_at_processes(self) -> None:
        """Notes what other users can read of processes, and what their children were given."""
        for process in Path("/proc").glob("[0-9]*"):
            for name in ("cmdline", "environ"):
                with suppress(OSError):
                    self.look(f"/proc/PID/{name}", (process / name).read_bytes())

    def found(self) -> list[tuple[str, str]]:
        """Each secret that is where it must not be, and that place."""
        return [
            (secret, place)
            for secret, text in self.secrets.items()
            for place, content in self.places.items()
            if text.encode() in content
        ]


@pytest.fixture
def cage() -> Cage:
    return Cage({"password": PASSWORD, "service key": SERVICE_KEY, "unknown token": UNKNOWN, "unknown JWT": JWT})


def _with_password(url: str) -> str:
    return sa.make_url(url).set(password=PASSWORD).render_as_string(hide_password=False)


@pytest.fixture
def caged(cage: Cage, postgres_server: PostgresServer, tmp_path: Path) -> Iterator[Locked]:
    """A platform whose every secret is known to the test. Its settings are in a file, and it logs all it can."""
    settings = {
        "server.authentication": "required",
        "server.service-key": SERVICE_KEY,
        "server.log-level": "debug",
    }
    authority = Authority(tmp_path / "authority")
    with postgres_server.database() as url:
        urls = dict.fromkeys(ROOMS, _with_password(url))
        file = tmp_path / "modelry.toml"
        with running("all", tmp_path / "platform", urls, settings, authority=authority, file=file) as deployment:
            deployment.flags["server.service-key"] = SERVICE_KEY
            cage.secrets["bootstrap token"] = (deployment.folder / "bootstrap.token").read_text().strip()
            cage.secrets["key of the certificate"] = _middle(deployment.certificate.key)
            yield Locked(deployment)


def _middle(pem: Path) -> str:
    """A line of a key that no other text has."""
    return pem.read_text().splitlines()[2]


def _fail(cage: Cage, locked: Locked, rpc: str, request: Any, metadata: Metadata) -> None:
    """Makes a call, and notes all that is said if it is refused."""
    try:
        locked.call(rpc, request, metadata)
    except grpc.RpcError as error:
        told: Any = error
        trailing = [value for pair in told.trailing_metadata() or () for value in pair]
        text = f"{error!r} {told.debug_error_string()} {unpacked(error)} {trailing} {told.initial_metadata()}"
        cage.look("errors", text)


def _misuse(cage: Cage, locked: Locked, secrets: Mapping[str, str]) -> None:
    """Every rpc with every secret, as it should be sent and as it should not."""
    things = make(lambda rpc, message: locked.call(rpc, message, locked.admin.metadata))
    for secret in secrets.values():
        ways: list[Metadata] = [
            bearing(secret),
            bearing(secret[:-1]),
            bearing(secret * 2),
            (*bearing(secret), *bearing(secret)),
            (("authorization", secret),),
            (("authorization", f"Basic {secret}"),),
            (("x-api-key", secret), ("modelry-token", secret)),
        ]
        for metadata in ways:
            rpc = "/modelry.api.tracking.v1.RunService/GetRun"
            _fail(cage, locked, rpc, BUILD[rpc](things), metadata)
    weak = locked.somebody()
    for rpc, build in BUILD.items():
        if rpc.startswith("/modelry.api.") and not rpc.endswith(("/CreateAdministrator", "/RevokeTokens")):
            _fail(cage, locked, rpc, build(things), weak.metadata)
    upload = [artifacts.WriteArtifactsRequest(owner=things.files), artifacts.WriteArtifactsRequest(sha256="x")]
    _fail(cage, locked, "/modelry.api.artifacts.v1.ArtifactService/WriteArtifacts", upload, locked.admin.metadata)
    control = access.GetWorkspaceRequest(name=CONTROL)
    _fail(cage, locked, "/modelry.api.access.v1.WorkspaceService/GetWorkspace", control, locked.admin.metadata)
    bad = tracking.SearchRunsRequest(workspace=things.workspace, filter="][", page_token="x")
    _fail(cage, locked, "/modelry.api.tracking.v1.RunService/SearchRuns", bad, locked.admin.metadata)


def _break(cage: Cage, locked: Locked, url: str) -> None:
    """Takes tables away, so that calls fail in ways that nobody has foreseen, and log where."""
    renamed = []
    with psycopg.connect(sa.make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)) as db:
        rows = db.execute(
            "SELECT schemaname, tablename FROM pg_tables WHERE tablename IN ('tokens', 'runs', 'models', 'principals')"
        ).fetchall()
        for schema, table in rows:
            db.execute(f'ALTER TABLE "{schema}"."{table}" RENAME TO "{table}_away"')
            renamed.append((schema, table))
        db.commit()
        fresh = "mdy_t_" + "C4n4ri" * 6
        cage.secrets["token while tables are away"] = fresh
        admin = locked.admin
        for rpc, request, metadata in (
            ("access.v1.PrincipalService/WhoAmI", access.WhoAmIRequest(), bearing(cage.secrets["new token"])),
            ("access.v1.TokenService/CreateToken", access.CreateTokenRequest(), admin.metadata),
            ("access.v1.TokenService/RotateToken", access.RotateTokenRequest(token_id=admin.token_id), admin.metadata),
            ("tracking.v1.RunService/GetRun", tracking.GetRunRequest(run_id="0" * 32), admin.metadata),
            (
                "registry.v1.ModelService/SearchModels",
                registry.SearchModelsRequest(workspace="default"),
                admin.metadata,
            ),
        ):
            _fail(cage, locked, f"/modelry.api.{rpc}", request, metadata)
        for schema, table in renamed:
            db.execute(f'ALTER TABLE "{schema}"."{table}_away" RENAME TO "{table}"')
        db.commit()
    assert len(renamed) >= 4


def _rows(url: str) -> str:
    """Every row of every table."""
    engine, found = sa.create_engine(url), []
    with engine.connect() as connection:
        for schema in sa.inspect(engine).get_schema_names():
            for table in sa.inspect(engine).get_table_names(schema):
                found += [str(row) for row in connection.exec_driver_sql(f'SELECT * FROM "{schema}"."{table}"')]
    engine.dispose()
    return "\n".join(found)


def _job(deployment: Deployment, folder: Path, token: str) -> subprocess.Popen[str]:
    """A program that logs a run with a token, with the debug log on. It goes on when it reads a line."""
    folder.mkdir()
    file = folder / "token"
    file.touch(mode=0o600)
    file.write_text(token)
    sources = [str(REPOSITORY / each) for each in ("clients/python", "clients/cli", "services")]
    kept = {key: value for key, value in os.environ.items() if not key.startswith("MODELRY_")}
    environment = {
        **kept,
        **deployment.environment(),
        "PYTHONPATH": os.pathsep.join(sources),
        "MODELRY_TOKEN_FILE": str(file),
        "MODELRY_SPOOL_DIR": str(folder / "spool"),
        "MODELRY_EXIT_TIMEOUT": "1s",
        "MODELRY_SNAPSHOT": "1",
    }
    return subprocess.Popen(
        [sys.executable, "-c", JOB],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        cwd=folder,
    )


def _refuse_to_start(cage: Cage, locked: Locked, folder: Path) -> None:
    """Servers with the same secrets and a mistake each, which do not start and say why."""
    nobody = f"postgresql+psycopg://modelry:{PASSWORD}@127.0.0.1:{free_port()}/none"
    key = locked.deployment.flags["server.tls-key-file"]
    for number, mistake in enumerate(
        (
            dict.fromkeys((f"{room}.database-url" for room in ROOMS), nobody),
            dict.fromkeys((f"{room}.database-url" for room in ROOMS), f"mysql://modelry:{PASSWORD}@127.0.0.1/none"),
            {"access.bootstrap-token": UNKNOWN},
            {"server.service-kei": SERVICE_KEY},
            {"server.tls-certificate-file": key},
            {"server.log-level": "all"},
        )
    ):
        file, data = folder / f"mistake-{number}.toml", folder / f"data-{number}"
        data.mkdir()
        write(file, {**locked.deployment.flags, "server.data-folder": str(data), **mistake})
        done = subprocess.run(
            [sys.executable, "-m", "modelry_server", "--target=all", f"--config={file}"],
            capture_output=True,
            check=False,
            timeout=START_S,
        )
        assert done.returncode != 0, number
        cage.look("starts that fail", done.stdout + done.stderr)


def test_a14_no_secret_is_found_anywhere_after_all_sorts_of_things_have_failed(
    cage: Cage, caged: Locked, tmp_path: Path
) -> None:
    """Tokens, keys and passwords: not in logs, errors, processes, the spool, and not in the database."""
    deployment = caged.deployment
    url = deployment.flags["access.database-url"]
    writer = caged.somebody("writer")
    rotated = caged.ask("access.v1.TokenService/RotateToken", access.RotateTokenRequest(token_id=writer.token_id))
    revoked, disabled, new = caged.somebody("admin"), caged.somebody("admin"), caged.somebody("admin")
    caged.revoke(revoked)
    caged.disable(disabled)
    cage.secrets |= {
        "administrator": caged.admin.secret,
        "token": writer.secret,
        "rotated token": rotated.secret,
        "revoked token": revoked.secret,
        "token of a disabled one": disabled.secret,
        "new token": new.secret,
    }
    job = _job(deployment, tmp_path / "job", writer.secret)
    assert job.stdout is not None
    said = []
    for line in job.stdout:
        said.append(line)
        if line == "logged\n":
            break

    cage.look_at_processes()
    _misuse(cage, caged, cage.secrets)
    _break(cage, caged, url)
    _refuse_to_start(cage, caged, tmp_path)
    cage.look("database", _rows(url))
    deployment.kill()
    out, _ = job.communicate("\n", timeout=120)
    cage.look("output of the job", "".join(said) + out)
    cage.look_at_files(tmp_path / "job", besides=[tmp_path / "job" / "token"])
    cage.look_at_files(deployment.folder)

    # What was looked at is there.
    log = cage.places["all.log"]
    assert CONTROL.encode() in log
    assert b'"rpc.failed"' in log
    assert CONTROL.encode() in cage.places["errors"]
    assert caged.admin.token_id.encode() in cage.places["database"]
    assert b"CREDENTIAL_INVALID" in cage.places["errors"]
    assert b"is not the URL of a supported database" in cage.places["starts that fail"]
    assert any("spool" in place for place in cage.places)
    assert b"modelry_server" in cage.places["/proc/PID/cmdline"]
    eventually(lambda: job.poll() is not None)
    assert cage.found() == []
