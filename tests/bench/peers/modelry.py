"""Modelry: `modelry up` on SQLite, or on the harness's PostgreSQL.

Options: backend=sqlite|postgres; auth=required for a server that knows its callers, who is then called by an
administrator (W11 registers, promotes and archives) with an API token.

Runs and the long series of W5, W6 and W11 are written with the server's own store functions, many in a transaction; all
that is measured goes through the SDK.
"""

import sys
import time
from importlib.metadata import version
from pathlib import Path

from core import T0, Adapter, Client, Postgres, free_port, run_row, spawn, stop_tree, wait_port

FILTER = "metrics.acc > 0.9 and params.lr = '0.01'"
ROOMS = ("access", "tracking", "artifacts", "registry")


class ModelryClient(Client):
    """One training process: the SDK's client, and its recorder for the non-blocking calls."""

    def __init__(self, address, token=None):
        import modelry

        modelry.set_tracking_uri(address, token=token)
        self.modelry, self.c = modelry, modelry.Client(address, token=token)
        self.active = self.with_model = None

    def create_run(self, name, params, metrics, tags):
        points = [(key, value, T0, 0) for key, value in metrics.items()]
        return self.c.runs.create("0", name=name, params=params, metrics=points, tags=tags).run_id

    def log_metric(self, run, key, value, ts, step):
        self.c.runs.log_metrics(run, [(key, value, ts, step)])

    def log_async(self, run, key, value, ts, step):
        if self.active != run:
            self.modelry.end_run()
            self.modelry.start_run(run_id=run)
            self.active = run
        self.modelry.log_metric(key, value, step, ts)

    def flush(self, run):
        self.modelry.flush()

    def log_batch(self, run, pts):
        self.c.runs.log_metrics(run, pts)

    def get_run(self, run):
        return self.c.runs.get(run)

    def search(self, limit):
        found = self.c.runs.search(
            experiment_ids=["0"], filter=FILTER, order_by=["metrics.acc DESC"], max_results=limit, page_size=limit
        )
        return sum(1 for _ in found)

    def history(self, run, key):
        columns = self.c.metrics.read(run, key)
        return len(columns), 24 * len(columns)

    def history_sampled(self, run, key, max_points):
        columns = self.c.metrics.read(run, key, max_points=max_points)
        return len(columns), 24 * len(columns)

    def register(self, name):
        self.c.models.create(name)

    def create_version(self, name, run):
        if self.with_model != run:
            self.c.artifacts.upload_bytes(f"runs/{run}", "model/MLmodel", b"flavors: {}\n")
            self.with_model = run
        return self.c.versions.create(name, f"runs:/{run}/model").version_number

    def set_alias(self, name, alias, version):
        self.c.aliases.set(name, alias, version)

    def get_by_alias(self, name, alias):
        return self.c.aliases.get(name, alias)

    def transition(self, name, version, stage):
        self.c.promotions.promote(name, version, stage)

    def upload(self, run, path):
        self.c.artifacts.upload(f"runs/{run}", str(path), path.name if path.is_dir() else "")

    def download(self, run, name, dst):
        self.c.artifacts.download(f"runs/{run}", name, str(dst))

    def close(self):
        self.modelry.flush()


class Peer(Adapter):
    """The platform in one process."""

    name, import_name, dist, has_server = "modelry", "modelry", "modelry", True
    notes = "one process with all rooms; runs and the long history for W5/W6/W11 are populated with its store functions"

    @staticmethod
    def version():
        return version("modelry")

    def start(self):
        super().start()
        self.port, self.flags = free_port(), {}
        if self.opts.get("backend", "sqlite") == "postgres":
            self.pg = Postgres(self.workdir).start()
            self.flags = {f"{room}.database-url": self.pg.url("+psycopg") for room in ROOMS}
        self.flags["server.data-folder"] = str(self.workdir / "modelry")
        self.flags["server.authentication"] = self.opts.get("auth", "none")
        self.token = None
        from modelry_server.databases import database

        for room in ROOMS:
            db = database(self._config(), room)
            db.upgrade()
            db.close()
        flags = [f"--{key}={value}" for key, value in self.flags.items()]
        command = [sys.executable, "-m", "modelry_server", f"--server.listen=127.0.0.1:{self.port}", *flags]
        begun = time.perf_counter()
        self.proc = spawn(command, self.workdir / "server.log")
        wait_port(self.port)
        if self.flags["server.authentication"] == "required":
            self.token = self._administrator()
        self.client().c.experiments.get("0")
        self.server_start_s = time.perf_counter() - begun

    def stop(self):
        stop_tree(getattr(self, "proc", None))
        if hasattr(self, "pg"):
            self.pg.stop()

    def pids(self):
        return [self.proc.pid] + ([self.pg.proc.pid] if hasattr(self, "pg") else [])

    def __getstate__(self):
        return {key: value for key, value in self.__dict__.items() if key != "proc"}

    def client(self):
        return ModelryClient(f"127.0.0.1:{self.port}", self.token)

    def disk_bytes(self):
        if not hasattr(self, "pg"):
            return sum(f.stat().st_size for f in Path(self.workdir / "modelry").glob("*.db*"))
        db = self._tracking()
        import sqlalchemy as sa

        with db.read() as tx:
            size = tx.execute(sa.text("select pg_database_size('postgres')")).scalar_one()
        db.close()
        return size

    def populate_runs(self, lo, hi):
        import numpy as np
        import sqlalchemy as sa

        from modelry_server.kernel.filter.numbers import number_of
        from modelry_server.kernel.ids import new_id
        from modelry_server.tracking.entities import MetricColumns
        from modelry_server.tracking.store import metrics, tables

        db = self._tracking()
        step, moment = np.array([0], np.int64), np.array([T0], np.int64)
        for at in range(lo, hi, 1000):
            runs, params, tags, series = [], [], [], []
            for i in range(at, min(hi, at + 1000)):
                name, p, m, t = run_row(i)
                run = new_id()
                runs.append(
                    {
                        "run_id": run,
                        "experiment_id": 0,
                        "name": name,
                        "status": 3,
                        "parent_run_id": "",
                        "creator": "bench",
                        "claimed_user": "bench",
                        "description": "",
                        "start_time": T0 + i,
                        "end_time": T0 + i + 1,
                        "revision": 1,
                    }
                )
                params += [{"run_id": run, "key": k, "value": v, "number": number_of(v)} for k, v in p.items()]
                tags += [{"run_id": run, "key": k, "value": v} for k, v in t.items()]
                series += [metrics.Series(run, 0, MetricColumns(k, step, moment, np.array([v]))) for k, v in m.items()]
            with db.write() as tx:
                for table, rows in ((tables.runs, runs), (tables.params, params), (tables.tags, tags)):
                    tx.execute(sa.insert(table), rows)
                metrics.append(tx, series)
        if hasattr(self, "pg"):
            with db.write() as tx:
                tx.execute(sa.text("analyze"))
        db.close()

    def _administrator(self):
        import modelry

        bootstrap = (self.workdir / "modelry" / "bootstrap.token").read_text().strip()
        client = modelry.Client(f"127.0.0.1:{self.port}", token=bootstrap)
        return client.principals.create_administrator("bench").token.secret

    def _tracking(self):
        from modelry_server.databases import database

        return database(self._config(), "tracking")

    def _config(self):
        from modelry_server.config import Config
        from modelry_server.kernel.config import load

        return load(Config, environment={}, flags=self.flags)
