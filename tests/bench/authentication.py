"""Measures what knowing the callers costs: two servers at once, without and with authentication, called by turns.

    python tests/bench/authentication.py --harness ../shared/bench [-o backend=postgres]

Measured are W1 (one point), W3 (a batch of 1000 points) and W5 (a page of a filtered search) of the harness, with its
data. In each round the two servers take turns call by call. The cost is what the median call of a round takes more with
authentication; the median of the rounds is told, with the middle half of them. Access holds `--principals` and
`--bindings` of a large installation, see `grants.py`, and the caller has a token of a service account with the role
writer: in the workspace, or, with `--experiment`, at the one experiment, so that a search is limited to it.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]

import run  # noqa: E402, F401  # makes the harness and the adapter importable
from core import T0  # noqa: E402
from grants import filled  # noqa: E402
from peers.modelry import ModelryClient, Peer  # noqa: E402

from modelry_server.databases import database  # noqa: E402

PAGE = 100


@contextmanager
def started(folder: Path, options: dict[str, str]) -> Iterator[Any]:
    """A server of the harness."""
    peer = Peer(folder, **options)
    try:
        peer.start()
        yield peer
    finally:
        peer.stop()


def known_caller(peer: Any, wanted: argparse.Namespace) -> ModelryClient:
    """A client with the token of a service account that is one of many principals."""
    access = database(peer._config(), "access")
    filled(access, wanted.principals, wanted.bindings, 3)
    access.close()
    client = peer.client().c
    account = client.principals.create("trainer", kind="SERVICE_ACCOUNT")
    client.roles.bind("writer", principal=account.principal_id, **({"experiment": "0"} if wanted.experiment else {}))
    return ModelryClient(f"127.0.0.1:{peer.port}", client.tokens.create(principal=account.principal_id).secret)


def seconds(action: Callable[[], object]) -> float:
    """How long an action takes."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def compared(name: str, rounds: int, calls: int, without: Callable[[], object], known: Callable[[], object]) -> None:
    """Measures both by turns, and prints what came out."""
    medians = []
    for number in range(rounds + 1):
        times: tuple[list[float], list[float]] = ([], [])
        for call in range(calls):
            for which in (0, 1) if (call + number) % 2 else (1, 0):
                times[which].append(seconds((without, known)[which]))
        if number:  # the first round warms up
            medians.append(tuple(1000 * statistics.median(each) for each in times))
    more = [100 * (known / without - 1) for without, known in medians]
    low, middle, high = statistics.quantiles(more, n=4)
    off, on = (statistics.median(each) for each in zip(*medians, strict=True))
    print(f"{name}: {off:.3f} ms without, {on:.3f} ms with: {middle:+.1f} % ({low:+.1f} to {high:+.1f})", flush=True)


def main() -> None:
    """Prints a line for each workload."""
    options = argparse.ArgumentParser()
    options.add_argument("-o", dest="options", action="append", default=[], metavar="KEY=VALUE")
    options.add_argument("--principals", type=int, default=10_000)
    options.add_argument("--bindings", type=int, default=100_000)
    options.add_argument("--experiment", action="store_true")
    options.add_argument("--runs", type=int, default=10_000)
    options.add_argument("--rounds", type=int, default=12)
    wanted = options.parse_args()
    given = dict(each.split("=", 1) for each in wanted.options)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as servers:
        Path(folder).chmod(0o755)  # PostgreSQL runs as another user
        open_peer, locked_peer = (
            servers.enter_context(started(Path(folder, auth), {**given, "auth": auth})) for auth in ("none", "required")
        )
        clients = open_peer.client(), known_caller(locked_peer, wanted)
        runs = [client.create_run("bench", {}, {}, {}) for client in clients]
        step = iter(range(10**9))
        batch = [(f"key{number % 10}", 0.5, T0, number) for number in range(1000)]

        def point(which: int) -> Callable[[], object]:
            return lambda: clients[which].log_metric(runs[which], "loss", 0.5, T0, next(step))

        def points(which: int) -> Callable[[], object]:
            return lambda: clients[which].log_batch(runs[which], batch)

        def search(which: int) -> Callable[[], object]:
            return lambda: clients[which].search(PAGE)

        compared("W1", wanted.rounds, 300, point(0), point(1))
        compared("W3", wanted.rounds, 60, points(0), points(1))
        for peer in (open_peer, locked_peer):
            peer.populate_runs(0, wanted.runs)
        compared(f"W5, {wanted.runs} runs", wanted.rounds, 20, search(0), search(1))


if __name__ == "__main__":
    main()
