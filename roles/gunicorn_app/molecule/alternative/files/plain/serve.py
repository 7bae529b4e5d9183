"""Serves by itself, without gunicorn."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, HTTPServer


class Handler(BaseHTTPRequestHandler):
    """Answers everything alike."""

    def do_GET(self):
        """Answer."""
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"plain")


HTTPServer(("0.0.0.0", 9102), Handler).serve_forever()
