"""The port at which Prometheus reads the metrics of the process: few connections at once, and none for long."""

import socket
import threading
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

CONNECTIONS = 16
"""How many connections are open at once. Further ones are closed at once."""
_SILENCE_S = 5.0  # how long a client may say or take nothing


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
    timeout = _SILENCE_S

    def log_message(self, format: str, *given: Any) -> None:
        """Logs nothing: a scrape is no event."""


def serve(host: str, port: int) -> None:
    """Serves the metrics until the process ends. Raises OSError if it can't listen there."""

    class Scrapes(_Scrapes):
        address_family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]

    server = make_server(host, port, make_wsgi_app(), Scrapes, _Scrape)
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
