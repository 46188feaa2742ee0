"""Measures how long a large file takes to be logged, beside a copy of it: random bytes, SQLite and local artifacts.

    python tests/bench/checkpoint.py [megabytes] [pairs]

Each pair logs files that the server has not seen, once so that the call waits for the upload and once with
`synchronous=False`, and copies one with `cp` to the same disk. A copy is on the disk when `sync` has returned, so it is
measured with and without that.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import modelry
from tests.parts import deployment


def seconds(action: Callable[[], object]) -> float:
    """How long an action takes."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def command(*parts: object) -> Callable[[], object]:
    """A program to be run."""
    return lambda: subprocess.run([str(part) for part in parts], check=True, capture_output=True)


def written(path: Path, megabytes: int) -> None:
    """Writes a file of random bytes to the disk."""
    command("dd", "if=/dev/urandom", f"of={path}", "bs=1M", f"count={megabytes}")()
    command("sync", path)()


def main() -> None:
    """Prints each pair and the medians."""
    megabytes, pairs = (int(given) for given in (sys.argv[1:] + ["1024", "3"][len(sys.argv) - 1 :]))
    rows = []
    with tempfile.TemporaryDirectory() as folder, deployment.running("all", Path(folder, "server")) as server:
        os.environ["MODELRY_SPOOL_DIR"] = folder
        os.environ.update(server.environment())
        modelry.set_tracking_uri(server.address)
        source, copy = Path(folder, "checkpoint.pt"), Path(folder, "copy.pt")
        with modelry.start_run() as run:
            for _ in range(pairs):
                written(source, megabytes)
                copied = seconds(command("cp", source, copy))
                synced = copied + seconds(command("sync", copy))
                copy.unlink()
                logged = seconds(lambda: run.log_artifact(source))
                written(source, megabytes)
                begun = seconds(lambda: run.log_artifact(source, "later", synchronous=False))
                behind = seconds(run.flush)
                rows.append((copied, synced, logged, begun))
                print(
                    f"cp {copied:.2f} s, with sync {synced:.2f} s; log_artifact {logged:.2f} s; synchronous=False "
                    f"{begun:.2f} s, and {behind:.2f} s behind it",
                    flush=True,
                )
    copied, synced, logged, begun = (statistics.median(column) for column in zip(*rows, strict=True))
    print(
        f"{megabytes} MiB, medians of {pairs}: {logged / copied:.2f} x cp, {logged / synced:.2f} x cp with sync; with"
    )
    print(f"with synchronous=False: {begun / copied:.2f} x cp, {begun / synced:.2f} x cp with sync")


if __name__ == "__main__":
    main()
