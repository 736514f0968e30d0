"""A collector of traces that accepts everything and looks at nothing."""

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    """Reads each request to its end."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Accept spans."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


if __name__ == "__main__":
    address = "127.0.0.1", int(os.environ["PEER_PORT"])
    ThreadingHTTPServer(address, Handler).serve_forever()
