"""A local HTTP server that breaks off, forgets Range, or serves something else."""

import contextlib
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FlakyServer:
    """Serves ``files`` (path -> bytes) at ``url``; every request is noted in ``requests``.

    Attributes:
        break_after: the number of bytes after which each of the next answers stops; one a request.
        ranges: whether Range headers are honoured.
        etag: sent with each answer, and compared with If-Range; none when empty.
        length: whether answers say how long they are.
        pause: seconds before each byte.
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files, self.break_after, self.ranges = files, [], True
        self.etag, self.length, self.pause = '', True, 0.0
        self.requests: list[tuple[str, str | None]] = []
        self.url = ''


def _handler(server: FlakyServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get('Range')
            server.requests.append((self.path, wanted))
            data = server.files.get(self.path)
            if data is None:
                self.send_error(404, 'Not Found')
                return
            asked = self.headers.get('If-Range')
            if asked and asked != server.etag:
                wanted = None
            start = int(wanted.split('=')[1].rstrip('-')) if wanted and server.ranges else 0
            if start and start >= len(data):
                self.send_response(416)
                self.send_header('Content-Range', f'bytes */{len(data)}')
                self.end_headers()
                return
            self.send_response(206 if start else 200)
            if server.length:
                self.send_header('Content-Length', str(len(data) - start))
            if start:
                self.send_header('Content-Range', f'bytes {start}-{len(data) - 1}/{len(data)}')
            if server.etag:
                self.send_header('ETag', server.etag)
            self.end_headers()
            stop = server.break_after.pop(0) if server.break_after else len(data)
            step = 1 if server.pause else len(data)
            with contextlib.suppress(OSError):  # whoever asked may have gone
                for at in range(start, min(start + stop, len(data)), step):
                    self.wfile.write(data[at : min(at + step, start + stop)])
                    time.sleep(server.pause)

        def log_message(self, *args: object) -> None:
            pass

    return Handler


@contextlib.contextmanager
def serving(files: dict[str, bytes]) -> Iterator[FlakyServer]:
    """Run a FlakyServer on a free local port."""
    server = FlakyServer(files)
    httpd = ThreadingHTTPServer(('127.0.0.1', 0), _handler(server))
    server.url = f'http://127.0.0.1:{httpd.server_port}'
    thread = threading.Thread(target=httpd.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()
