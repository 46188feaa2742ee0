"""Reading a small document over HTTP, with a limit to its size and to the time that all of it may take."""

import base64
import http.client
import socket
import ssl
import threading
import time
from contextlib import suppress
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from modelry_server.access.domain.oidc.issuers import is_local

LIMIT_S = 5.0
LARGEST = 256 << 10


class Unfetched(Exception):
    """The document can't be had; the text says why."""


def fetch(url: str, tls: ssl.SSLContext, limit_s: float = LIMIT_S, *, token: str = "") -> bytes:
    """The document at an URL, asked for with a token if there is one. Follows no redirect. Raises Unfetched."""
    parts = urlsplit(url)
    connection = _connection(parts, tls, limit_s)
    target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    until = time.monotonic() + limit_s
    ended, opened = threading.Event(), list[socket.socket]()
    threading.Thread(target=_cut, args=(opened, ended, limit_s), name="fetch-limit", daemon=True).start()
    try:
        connection.connect()
        opened.append(connection.sock)  # which the connection forgets when it has the head of the answer
        headers = {"Accept": "application/json", "User-Agent": "modelry"}
        connection.request("GET", target, headers=headers | ({"Authorization": f"Bearer {token}"} if token else {}))
        answer = connection.getresponse()
        if answer.status != http.HTTPStatus.OK:
            raise Unfetched(f"{url} answered with HTTP {answer.status}; only 200 is taken, and no redirect followed")
        content = answer.read(LARGEST + 1)
        if time.monotonic() >= until:  # what was cut can look whole
            raise TimeoutError("the answer takes too long")
    except (OSError, ValueError, http.client.HTTPException) as problem:  # ValueError: a name that is none, a cut TLS
        raise Unfetched(f"{url} can't be read within {limit_s:g} s: {type(problem).__name__}: {problem}") from problem
    finally:
        ended.set()
        connection.close()
    if len(content) > LARGEST:
        raise Unfetched(f"{url} has more than {LARGEST >> 10} KiB")
    return content


def _connection(parts: SplitResult, tls: ssl.SSLContext, limit_s: float) -> http.client.HTTPConnection:
    host = parts.hostname or ""
    if parts.scheme == "http":  # this machine, which no proxy stands before
        return http.client.HTTPConnection(host, parts.port, timeout=limit_s)
    proxy = urlsplit(getproxies().get("https", ""))
    if not proxy.hostname or is_local(host) or proxy_bypass(host):
        return http.client.HTTPSConnection(host, parts.port, timeout=limit_s, context=tls)
    connection = http.client.HTTPSConnection(proxy.hostname, proxy.port, timeout=limit_s, context=tls)
    headers = {}
    if proxy.username:
        login = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
        headers["Proxy-Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
    connection.set_tunnel(host, parts.port, headers=headers)
    return connection


def _cut(opened: list[socket.socket], ended: threading.Event, limit_s: float) -> None:
    """Ends a connection that takes too long as a whole.

    Its own timeout is for each wait, and a byte now and then is enough to keep it.
    """
    wait_s = limit_s
    while not ended.wait(wait_s):
        wait_s = 0.25
        for each in opened:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
