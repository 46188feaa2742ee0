"""A real PgBouncer, which hands out a few connections to PostgreSQL by transaction."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from tests.parts import PartMissing, free_port
from tests.parts.eventually import eventually

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@contextmanager
def pooling(database_url: str, folder: Path, *, connections: int) -> Iterator[str]:
    """The SQLAlchemy URL of a database behind a pool of so many connections."""
    if PROGRAM is None:
        raise PartMissing("no PgBouncer: `apt-get install pgbouncer`")
    url, port = sa.make_url(database_url), free_port()
    password = f" password={url.password}" if url.password else ""
    settings = folder / "pgbouncer.ini"
    settings.write_text(
        f"[databases]\n"
        f"{url.database} = host={url.host} port={url.port or 5432} user={url.username}{password}\n"
        f"[pgbouncer]\n"
        f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = any\npool_mode = transaction\ndefault_pool_size = {connections}\n"
    )
    user = ["-u", "nobody"] if os.geteuid() == 0 else []  # it refuses to run as root
    log = folder / "pgbouncer.log"
    with log.open("w") as output:
        pooler = subprocess.Popen([PROGRAM, *user, settings], stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        assert eventually(lambda: _listens(port)), log.read_text()
        yield url.set(host="127.0.0.1", port=port).render_as_string(hide_password=False)
    finally:
        pooler.terminate()
        pooler.wait(10)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
