"""A web server of one folder on this machine, for tests: ranges of bytes, files that stop in the middle, no ranges."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit


class Server(ThreadingHTTPServer):
    """Attributes: `stops_at`: bytes from this place of a file on are never sent; `ranges`: whether parts can be had;
    `says_so`: whether it tells that they cannot; `requests`: (method, path, range) of all that were answered."""

    daemon_threads = True

    def __init__(self, folder: Path):
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder, self.stops_at, self.ranges, self.says_so = folder, 1 << 62, True, True
        self.requests: list[tuple[str, str, str]] = []

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up in the middle is no news."""

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{name}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_HEAD(self) -> None:
        self._answer(send=False)

    def do_GET(self) -> None:
        self._answer(send=True)

    def _answer(self, send: bool) -> None:
        wanted = self.headers.get("Range", "")
        path = self.server.folder / unquote(urlsplit(self.path).path).lstrip("/")
        self.server.requests.append((self.command, self.path, wanted))
        if path.is_dir():
            page = "".join(f'<a href="{p.name}">{p.name}</a>\n' for p in sorted(path.iterdir())).encode()
            return self._send(200, page, {"Content-Type": "text/html"}, send)
        if not path.is_file():
            return self._send(404, b"not here", {}, send)
        content = path.read_bytes()
        if not (self.server.ranges and wanted.startswith("bytes=")):
            headers = {"Accept-Ranges": "bytes" if self.server.ranges else "none"} if self.server.says_so else {}
            return self._send(200, content, headers, send)
        first, _, last = wanted[6:].partition("-")
        begin = int(first) if first else len(content) - int(last)
        end = min(int(last) + 1 if last and first else len(content), len(content))
        headers = {"Content-Range": f"bytes {begin}-{end - 1}/{len(content)}", "Accept-Ranges": "bytes"}
        left = max(0, self.server.stops_at - begin)
        self._send(206, content[begin:end], headers, send, left)

    def _send(self, status: int, body: bytes, headers: dict[str, str], send: bool, left: int = 1 << 62) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if send:
            self.wfile.write(body[:left])
        if left < len(body):
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serve(folder: Path) -> Iterator[Server]:
    server = Server(folder)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
