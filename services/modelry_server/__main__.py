"""Runs one target: `python -m modelry_server --target=all`."""

import functools
import gc
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from modelry_server.kernel.config import ConfigurationInvalid

if TYPE_CHECKING:
    from modelry_server.config import Config
    from modelry_server.kernel.transport.server import Server

_LONGEST_WAIT_S = 0.5
_GRACE_S = 5.0
# How long a thread may go on while others wait for Python's interpreter lock. SQLite needs it again after each step of
# a statement. With Python's default, 5 ms, calls beside searches took a quarter longer. PostgreSQL does not need this.
_TURN_S = 0.001


def arguments(args: Sequence[str]) -> dict[str, str]:
    """`--key=value` and `--key value` as a mapping. Raises ConfigurationInvalid for anything else."""
    found: dict[str, str] = {}
    rest = list(args)
    while rest:
        word = rest.pop(0)
        key, separator, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or not key or (not separator and not rest):
            raise ConfigurationInvalid([f"{word!r}: settings are given as --section.key=value"])
        found[key] = value if separator else rest.pop(0)
    return found


def run(
    target: str,
    *,
    file: Path | None = None,
    flags: dict[str, str] | None = None,
    defaults: dict[str, str] | None = None,
    upgrade: bool = False,
    announce: "Callable[[Config, int], None] | None" = None,
) -> int:
    """Runs a target until SIGTERM or SIGINT. Returns the exit code: 0 after a drain, 1 if it can't start.

    Ends the whole process with 1 if it can't end soon after `server.drain`, or at a second signal.

    `flags` are the settings of the command line, and `defaults` those that file and environment come before.
    `upgrade` brings its databases to this program's schema first. `announce` is told the settings and the port once the
    target answers; without it a line on standard output says the port.
    """
    from modelry_server.addresses import listening, listening_everywhere
    from modelry_server.config import Config
    from modelry_server.databases import database, take_databases
    from modelry_server.kernel import telemetry
    from modelry_server.kernel.config import load
    from modelry_server.kernel.errors import ModelryError
    from modelry_server.kernel.memory import give_back_what_is_free
    from modelry_server.kernel.sql.database import DatabaseUnusable, SchemaMissing, how_to_upgrade
    from modelry_server.kernel.transport import sockets
    from modelry_server.kernel.transport.server import AddressUnusable, ensure_free
    from modelry_server.targets import TARGETS, build, mistakes

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: sys.exit())  # so that a start that is broken off leaves no sockets
    try:
        if target not in TARGETS:
            raise ConfigurationInvalid(
                [f"--target={target!r}: there is no such target; use one of {', '.join(TARGETS)}"]
            )
        config = load(
            Config,
            file=file,
            environment=os.environ,
            flags=flags or {},
            defaults=defaults,
            rules=functools.partial(mistakes, target),
            judged=("server", *TARGETS[target]),
        )
        telemetry.start_logging(config.server.log_level)
        for key, address in listening_everywhere(target, config):
            try:
                ensure_free(address)
            except AddressUnusable as taken_by_others:
                option = " (`modelry up --port`)" if target == "all" else ""
                raise AddressUnusable(f"{taken_by_others}; choose another address: {key}{option}") from None
        if config.server.metrics_port:
            _serve_metrics(listening(target, config)[1], config.server.metrics_port)
        taken = take_databases(TARGETS[target], config)
        if upgrade:
            for room in TARGETS[target]:
                database(config, room).upgrade()
            taken |= take_databases([room for room in TARGETS[target] if room not in taken], config)  # new files
        server = build(target, config)
    except SchemaMissing as missing:
        print(f"{missing.state}; {how_to_upgrade(file, target)}", file=sys.stderr)
        return 1
    except (ConfigurationInvalid, DatabaseUnusable, AddressUnusable, ModelryError) as mistake:
        print(mistake, file=sys.stderr)
        return 1

    # What is loaded by now stays: the collector need not look at it again. And a page of runs is some ten thousand new
    # objects, none of them garbage: with the default of 700 the collector took a third of the time of reading one.
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    if taken:  # files, so SQLite works in this process
        sys.setswitchinterval(_TURN_S)
    give_back_what_is_free()

    asked: queue.SimpleQueue[int] = queue.SimpleQueue()  # its put() may be called by a signal at any moment
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: asked.put(number))
    server.start()
    if announce is None:
        name = "modelry" if target == "all" else f"modelry {target}"
        where = f"on port {server.port}" if server.path is None else f"at {sockets.uri_of(server.path)}"
        print(f"{name} is listening {where}", flush=True)
    else:
        announce(config, server.port)
    _wait(asked)
    _end_hard_later(server, config.server.drain + _GRACE_S)
    server.stop()
    for each in taken.values():
        os.close(each)
    return 0


def _wait(asked: "queue.SimpleQueue[int]") -> None:
    """Waits for a signal. One that comes just before a wait begins does not end it, so none of them is long."""
    while True:
        try:
            asked.get(timeout=_LONGEST_WAIT_S)
        except queue.Empty:
            continue
        return


def _end_hard_later(server: "Server", limit_s: float) -> None:
    """Ends the process if it is still there after so many seconds, or at the next signal.

    A thread that waits for a database or a store that hangs can't be ended otherwise, and Python waits for it.
    """
    from modelry_server.kernel.telemetry import Log

    def end(why: str) -> NoReturn:
        Log("server").warning("server.stopped_hard", why=why, **server.unfinished())
        os._exit(1)

    late = threading.Timer(limit_s, end, [f"did not end within server.drain and {_GRACE_S:g} seconds"])
    late.daemon = True
    late.start()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: end("a second signal"))


def _serve_metrics(address: str, port: int) -> None:
    from modelry_server.kernel import metrics_port
    from modelry_server.kernel.config import ConfigurationInvalid, place

    host, _ = place(address) or ("127.0.0.1", 0)
    try:
        metrics_port.serve(host, port)
    except OSError as error:
        reason = f"can't listen there on {host}: {error.strerror}; choose another port, or 0 for none"
        raise ConfigurationInvalid([f"server.metrics_port = {port}: {reason}"]) from error


def main() -> None:
    """Runs what the command line says."""
    try:
        flags = arguments(sys.argv[1:])
    except ConfigurationInvalid as mistake:
        print(mistake, file=sys.stderr)
        raise SystemExit(2) from None
    target, file = flags.pop("target", "all"), flags.pop("config", "")
    raise SystemExit(run(target, file=Path(file) if file else None, flags=flags))


if __name__ == "__main__":
    main()
