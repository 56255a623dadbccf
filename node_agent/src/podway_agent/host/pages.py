"""Serves text pages over HTTP on loopback. Report calls it, if the operator wants pages."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

log = logging.getLogger(__name__)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""That of Prometheus's text format."""


def serve(listen: str, page: Callable[[str], tuple[int, str]]) -> None:
    """Serve at *listen* (address:port) what *page* gives for a path: a status and a text.

    The threads end with the process. If the address cannot be had, there are no pages; the agent works on.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, text = page(self.path)
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing of each scrape."""

    host, _, port = listen.rpartition(":")
    try:
        server = ThreadingHTTPServer((host, int(port)), Handler)
    except OSError as error:
        log.warning("pages not served", extra={"listen": listen, "reason": str(error)})
        return
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="pages", daemon=True).start()
