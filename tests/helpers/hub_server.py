"""A model hub on localhost: the few calls that creating, uploading and downloading make."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class _Hub(BaseHTTPRequestHandler):
    files: dict[str, bytes] = {}  # 'user/name/file' -> content
    commit = '0' * 40

    def log_message(self, *args: object) -> None:
        """Quiet."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get('Content-Length', 0)))
        if self.path == '/api/repos/create':
            name = json.loads(body)
            self._json({'url': f'{self._root()}/{name.get("organization", "user")}/{name["name"]}'})
        elif '/preupload/' in self.path:
            paths = [file['path'] for file in json.loads(body)['files']]
            modes = [dict(path=p, uploadMode='regular', shouldIgnore=False) for p in paths]
            self._json({'files': modes})
        elif '/commit/' in self.path:
            repo = self.path.removeprefix('/api/models/').split('/commit/')[0]
            for line in map(json.loads, body.splitlines()):
                if line['key'] == 'file':
                    content = base64.b64decode(line['value']['content'])
                    self.files[f'{repo}/{line["value"]["path"]}'] = content
            url = f'{self._root()}/{repo}/commit/{self.commit}'
            self._json({'success': True, 'commitOid': self.commit, 'commitUrl': url})
        else:
            self.send_error(404)

    def do_HEAD(self) -> None:
        self._file(with_body=False)

    def do_GET(self) -> None:
        self._file(with_body=True)

    def _file(self, with_body: bool) -> None:
        repo, _, rest = self.path.lstrip('/').partition('/resolve/')
        content = self.files.get(f'{repo}/{rest.partition("/")[2]}')
        if content is None:
            self.send_response(404)
            self.send_header('X-Error-Code', 'RepoNotFound')
            self.send_header('Content-Length', '0')
            self.end_headers()
            return
        self.send_response(200)
        self.send_header('X-Repo-Commit', self.commit)
        self.send_header('ETag', f'"{hashlib.sha1(content).hexdigest()}"')
        self.send_header('Content-Length', str(len(content)))
        self.end_headers()
        if with_body:
            self.wfile.write(content)

    def _root(self) -> str:
        return 'http://{}:{}'.format(*self.server.server_address)

    def _json(self, content: dict) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def hub() -> Iterator[str]:
    """The address of a hub that lives as long as the block."""
    server = ThreadingHTTPServer(('127.0.0.1', 0), _Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield 'http://{}:{}'.format(*server.server_address)
    finally:
        server.shutdown()
        server.server_close()
