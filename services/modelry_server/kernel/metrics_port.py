"""The port at which Prometheus reads the metrics of the process: few connections at once, and none for long."""

import io
import socket
import threading
import time
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

CONNECTIONS = 16
"""How many connections are open at once. Further ones are closed at once."""
REQUEST_S = 5.0
"""How long a connection may be open: the time to send its request and to take the answer, together."""
_REQUEST_BYTES = 8 << 10
_END_OF_REQUEST = b"\r\n\r\n"


class _Scrapes(ThreadingWSGIServer):
    request_queue_size = CONNECTIONS

    def __init__(self, *given: Any) -> None:
        self._places = threading.BoundedSemaphore(CONNECTIONS)
        super().__init__(*given)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answers on a thread of its own, if there is a place."""
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answers, and gives the place back."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing of a client that has gone."""


class _Scrape(WSGIRequestHandler):
    timeout = REQUEST_S

    def handle(self) -> None:
        """Answers a request, if it is whole in time. Raises TimeoutError if it isn't, or if nobody takes the answer."""
        until = time.monotonic() + self.timeout
        request = b""
        while _END_OF_REQUEST not in request:
            self._wait_until(until)
            part = self.connection.recv(_REQUEST_BYTES - len(request))
            if not part:  # the client has gone, or has sent too much
                return
            request += part
        self.rfile = io.BytesIO(request)
        self._wait_until(until)
        super().handle()

    def _wait_until(self, until: float) -> None:
        """Limits the next receiving, or the sending of a whole answer, to a reading of `time.monotonic()`."""
        left_s = until - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self.connection.settimeout(left_s)

    def log_message(self, format: str, *given: Any) -> None:
        """Logs nothing: a scrape is no event."""


def serve(host: str, port: int, request_s: float = REQUEST_S) -> None:
    """Serves the metrics until the process ends, each request within `request_s`. Raises OSError if it can't listen."""

    class Scrapes(_Scrapes):
        address_family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]

    class Scrape(_Scrape):
        timeout = request_s

    server = make_server(host, port, make_wsgi_app(), Scrapes, Scrape)
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
