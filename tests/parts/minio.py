"""A real MinIO: the server in MODELRY_TEST_S3_ENDPOINT, a container, `minio` on the PATH, or what `make minio` built.

With MODELRY_TEST_S3_ENDPOINT (an URL) go MODELRY_TEST_S3_ACCESS_KEY and MODELRY_TEST_S3_SECRET_KEY.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import minio
import urllib3

from tests.parts import PartMissing, docker_answers, free_port

IMAGE = "minio/minio:RELEASE.2025-09-07T16-13-09Z"
BUILT = Path(__file__).resolve().parents[2] / ".cache" / "bin" / "minio"


@dataclass(frozen=True)
class MinioServer:
    """A running server. `endpoint` is an URL without a path; the keys may create buckets."""

    endpoint: str
    access_key: str = "modelry-test"
    secret_key: str = "modelry-test-secret"
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1), repr=False)

    @property
    def address(self) -> str:
        """Host and port, as the `minio` library takes them."""
        return urllib3.util.parse_url(self.endpoint).netloc or ""

    @property
    def secure(self) -> bool:
        """Whether the endpoint speaks TLS."""
        return self.endpoint.startswith("https://")

    def client(self) -> minio.Minio:
        """A client that may do everything."""
        return minio.Minio(self.address, self.access_key, self.secret_key, secure=self.secure)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """A block in which it hangs: its host takes connections and bytes, and nothing is answered.

        Only a server that was started here can be paused.
        """
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def new_bucket(self) -> str:
        """Makes an empty bucket and returns its name."""
        name = f"modelry-test-{os.getpid()}-{next(self._numbers)}"
        self.client().make_bucket(name)
        return name


@contextmanager
def running(folder: Path) -> Iterator[MinioServer]:
    """The server that is to be had. `folder` keeps its files when it is started here."""
    if endpoint := os.environ.get("MODELRY_TEST_S3_ENDPOINT"):
        yield MinioServer(endpoint, os.environ["MODELRY_TEST_S3_ACCESS_KEY"], os.environ["MODELRY_TEST_S3_SECRET_KEY"])
        return
    if docker_answers():
        with _container() as server:
            yield server
        return
    with started(_program(), folder) as server:
        yield server


@contextmanager
def own(folder: Path) -> Iterator[MinioServer]:
    """One that is started here, for a test that does to it what others should not see."""
    with started(_program(), folder) as server:
        yield server


@contextmanager
def started(program: str, folder: Path) -> Iterator[MinioServer]:
    """A server from `program` with its files in `folder`, stopped at the end."""
    server = MinioServer(f"http://127.0.0.1:{free_port()}")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [program, "server", "--quiet", "--address", server.address, str(folder / "blobs")],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(folder),
                "MINIO_ROOT_USER": server.access_key,
                "MINIO_ROOT_PASSWORD": server.secret_key,
                "MINIO_BROWSER": "off",
                "MINIO_UPDATE": "off",
            },
        )
    try:
        _wait_until_live(server, folder / "log")
        yield replace(server, process=process)
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def _container() -> Iterator[MinioServer]:
    from testcontainers.minio import MinioContainer

    with MinioContainer(IMAGE) as container:
        config = container.get_config()
        yield MinioServer(f"http://{config['endpoint']}", config["access_key"], config["secret_key"])


def _program() -> str:
    program = shutil.which("minio") or (str(BUILT) if BUILT.exists() else None)
    if program is None:
        raise PartMissing(
            "no MinIO: set MODELRY_TEST_S3_ENDPOINT, start Docker, put `minio` on the PATH, "
            "or install Go and run `make minio`"
        )
    return program


def _wait_until_live(server: MinioServer, log: Path) -> None:
    patience = urllib3.Retry(total=200, backoff_factor=0.05, backoff_max=0.25, status_forcelist=[503])
    try:
        with urllib3.PoolManager() as http:
            http.request("GET", f"{server.endpoint}/minio/health/live", retries=patience, timeout=5)
    except urllib3.exceptions.HTTPError as error:
        raise PartMissing(f"MinIO did not come up on {server.endpoint}:\n{log.read_text()}") from error
