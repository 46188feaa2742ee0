"""Watches whether a PostgreSQL answers, and frees those who wait for one that has fallen silent.

A database whose processes hang, or that hangs behind a pooler, looks healthy to TCP: a statement that was sent to it
would wait for ever, and with it a thread, its place among the workers, and whoever waits for that thread.
"""

import os
import select
import socket
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import prometheus_client
import psycopg

from modelry_server.kernel.telemetry import Log

CONNECT_S = 5
"""How long opening a connection may take."""
LOOK_S = 5.0
"""How often the database is asked."""
PATIENCE_S = 30.0
"""How long a database may be silent before those who wait for it are told that it does not answer."""

_ANSWER_S = 5.0
_log = Log("db")

database_up = prometheus_client.Gauge(
    "modelry_database_up", "1 if the PostgreSQL of the service answers, 0 if it does not.", ["service"]
)


class Watch:
    """Knows the connections of one database, and whether it answers. `connect` opens a connection to ask it on."""

    def __init__(self, room: str, connect: Callable[[], Any], *, patience_s: float = PATIENCE_S) -> None:
        self._room = room
        self._connect = connect
        self._patience_s = patience_s
        self._silent_since: float | None = None
        self._lock = threading.Lock()
        self._connections: weakref.WeakSet[Any] = weakref.WeakSet()

    @property
    def is_silent(self) -> bool:
        """Whether the last question was not answered."""
        return self._silent_since is not None

    def know(self, connection: Any, record: Any) -> None:
        """Watches over a connection that was just opened."""
        with self._lock:
            self._connections.add(connection)

    def look(self) -> None:
        """Asks the database. If it has been silent for too long, cuts all connections that wait for an answer.

        While it answers, and if only with an error, no statement is too long.
        """
        asked = time.monotonic()
        try:
            _ask(self._connect)
        except psycopg.errors.ConnectionTimeout:
            self._silent_since = asked if self._silent_since is None else self._silent_since
            silent_s = round(time.monotonic() - self._silent_since)
            self._say_down(f"no answer for {silent_s} seconds", "silence")
            if silent_s >= self._patience_s:
                self._cut()
        except (psycopg.Error, OSError) as error:
            self._silent_since = None
            cause = " ".join(str(error).split())
            self._say_down(cause, cause)
        else:
            self._silent_since = None
            database_up.labels(self._room).set(1)

    def _say_down(self, cause: str, kind: str) -> None:
        database_up.labels(self._room).set(0)
        _log.seldom("database.unavailable", per=f"{self._room}: {kind}", service=self._room, cause=cause)

    def _cut(self) -> None:
        with self._lock:
            known = list(self._connections)
        for connection in known:
            if _is_waiting(connection):
                _shut_down(connection)


def _ask(connect: Callable[[], Any]) -> None:
    """Asks on a new connection: whether one can be opened is part of the question. Raises psycopg.Error."""
    connection = connect()
    driver = connection.pgconn
    try:
        until = time.monotonic() + _ANSWER_S
        poll = select.poll()
        poll.register(driver.socket, select.POLLIN)
        driver.send_query(b"SELECT 1")
        driver.flush()
        while True:
            driver.consume_input()
            if not driver.is_busy():
                break
            if (left := until - time.monotonic()) <= 0:
                raise psycopg.errors.ConnectionTimeout("no answer to SELECT 1")
            poll.poll(left * 1000)
        if (answer := driver.get_result()) and answer.status != psycopg.pq.ExecStatus.TUPLES_OK:
            raise psycopg.OperationalError(answer.error_message.decode(errors="replace"))
    finally:
        connection.close()


def _is_waiting(connection: Any) -> bool:
    return bool(connection.pgconn.transaction_status == psycopg.pq.TransactionStatus.ACTIVE)


def _shut_down(connection: Any) -> None:
    """Ends the socket of a connection; the thread that waits there is told that the connection is lost."""
    try:
        number = connection.pgconn.socket
        with socket.socket(fileno=os.dup(number)) as ours:
            # If its thread closed the connection meanwhile, the number may be that of another socket by now.
            if _is_waiting(connection) and connection.pgconn.socket == number:
                ours.shutdown(socket.SHUT_RDWR)
    except (psycopg.Error, OSError):
        return  # it is closed already
