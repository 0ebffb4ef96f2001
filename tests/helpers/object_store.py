"""A real S3 server on the loopback (moto's), and a proxy before it that breaks what it is told to.

    with s3_server() as store:            sets the environment that clients read
        store.put('data/a.png', b'...')
        store.fault('reset', times=2, match='a.png')

The server lives in a thread of this process; children reach it by the environment.
"""

import contextlib
import http.client
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest.mock import patch

BUCKET = 'pictures'
_ERROR = '<?xml version="1.0"?><Error><Code>{}</Code><Message>{}</Message></Error>'
_ANSWERS = {
    '503': (503, _ERROR.format('SlowDown', 'Please reduce your request rate.')),
    '500': (500, _ERROR.format('InternalError', 'We encountered an internal error.')),
    'denied': (403, _ERROR.format('InvalidAccessKeyId', 'The key is not in our records.')),
}


@dataclass
class Fault:
    """kind: 'reset', '503', '500', 'denied', 'slow' (pause first), 'broken' (half of the body, then
    the end), 'truncated' (half of the body, said to be all), 'damaged' (a checksum that does not
    fit). left: how often. match: in the path."""

    kind: str
    left: int
    match: str
    method: str
    pause: float


@dataclass
class Store:
    """``requests``: (method, path, Range) of what passed through the proxy."""

    url: str = ''
    direct: str = ''
    faults: list[Fault] = field(default_factory=list)
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    _client: Any = None

    def fault(self, kind: str, times: int = 1, match: str = '', method: str = 'GET',
              pause: float = 0.0) -> None:  # fmt: skip
        self.faults.append(Fault(kind, times, match, method, pause))

    def take(self, method: str, path: str) -> Fault | None:
        for fault in self.faults:
            if fault.left and fault.match in path and fault.method == method:
                fault.left -= 1
                return fault
        return None

    def client(self):
        import boto3

        if self._client is None:
            self._client = boto3.client('s3', endpoint_url=self.direct, region_name='us-east-1')
        return self._client

    def put(self, key: str, data: bytes) -> str:
        self.client().put_object(Bucket=BUCKET, Key=key, Body=data)
        return f's3://{BUCKET}/{key}'

    def put_folder(self, folder: Path, prefix: str) -> str:
        client = self.client()
        for path in sorted(folder.rglob('*')):
            if path.is_file():
                key = f'{prefix}/{path.relative_to(folder).as_posix()}'
                client.put_object(Bucket=BUCKET, Key=key, Body=path.read_bytes())
        return f's3://{BUCKET}/{prefix}'

    def put_many(self, keys: Iterable[str], data: bytes = b'x') -> None:
        """Without the way through the server, which takes milliseconds each."""
        from moto.s3.models import s3_backends

        backend = s3_backends['123456789012']['aws']
        for key in keys:
            backend.put_object(BUCKET, key, data)

    def get(self, key: str) -> bytes:
        return self.client().get_object(Bucket=BUCKET, Key=key)['Body'].read()

    def keys(self, prefix: str = '') -> list[str]:
        pages = self.client().get_paginator('list_objects_v2')
        found = pages.paginate(Bucket=BUCKET, Prefix=prefix)
        return [entry['Key'] for page in found for entry in page.get('Contents', ())]


def _handler(store: Store, port: int) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = 'HTTP/1.1'

        def _pass_on(self) -> None:
            body = self._body()
            store.requests.append((self.command, self.path, self.headers.get('Range', '')))
            fault = store.take(self.command, self.path)
            kind = fault.kind if fault else ''
            if fault and fault.pause:
                time.sleep(fault.pause)
            if kind == 'reset':
                self.connection.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0)
                )
                self.connection.close()
                self.close_connection = True
                return
            if kind in _ANSWERS:
                status, text = _ANSWERS[kind]
                headers, data = {'Content-Type': 'application/xml'}, text.encode()
            else:
                status, headers, data = self._ask(body)
            length = len(data)
            if kind in ('truncated', 'broken'):
                data = data[: length // 2]
                length = len(data) if kind == 'truncated' else length
            if kind == 'damaged':
                data = bytes(length)
            if kind == 'truncated':
                headers = {k: v for k, v in headers.items() if 'checksum' not in k.lower()}
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in ('content-length', 'transfer-encoding', 'connection', 'date',
                                        'server'):  # fmt: skip
                    self.send_header(name, value)
            if self.command == 'HEAD':
                self.send_header('Content-Length', headers.get('Content-Length', '0'))
                data = b''
            else:
                self.send_header('Content-Length', str(length))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(data)
            if kind == 'broken':
                self.close_connection = True

        def _ask(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
            connection = http.client.HTTPConnection('127.0.0.1', port, timeout=60)
            headers = {k: v for k, v in self.headers.items() if k.lower() != 'transfer-encoding'}
            headers['Content-Length'] = str(len(body))
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            data = answer.read()
            connection.close()
            return answer.status, dict(answer.getheaders()), data

        def _body(self) -> bytes:
            if 'chunked' in self.headers.get('Transfer-Encoding', ''):
                parts = []
                while size := int(self.rfile.readline().split(b';')[0], 16):
                    parts.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b''.join(parts)
            return self.rfile.read(int(self.headers.get('Content-Length', 0)))

        def __getattr__(self, name: str) -> Callable[[], None]:
            if name.startswith('do_'):
                return self._pass_on
            raise AttributeError(name)

        def handle_one_request(self) -> None:
            with contextlib.suppress(OSError, ValueError):
                super().handle_one_request()
                return
            self.close_connection = True

        def log_message(self, *args: object) -> None:
            pass

    return Handler


@contextlib.contextmanager
def s3_server(cache: str = '0') -> Iterator[Store]:
    """Run server and proxy on free ports, with a bucket. ``cache``: SEGKIT_OBJECT_CACHE."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address='127.0.0.1', port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    store = Store(direct=f'http://127.0.0.1:{port}')
    proxy = ThreadingHTTPServer(('127.0.0.1', 0), _handler(store, port))
    proxy.daemon_threads = True
    store.url = f'http://127.0.0.1:{proxy.server_port}'
    thread = threading.Thread(target=proxy.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    settings = dict(
        AWS_ENDPOINT_URL=store.url,
        AWS_ACCESS_KEY_ID='test',
        AWS_SECRET_ACCESS_KEY='test',
        AWS_DEFAULT_REGION='us-east-1',
        AWS_EC2_METADATA_DISABLED='true',
        AWS_CONFIG_FILE=os.devnull,
        AWS_SHARED_CREDENTIALS_FILE=os.devnull,
        SEGKIT_OBJECT_CACHE=cache,
        SEGKIT_STORE_TIMEOUT='5',
    )
    with patch.dict(os.environ, settings):
        try:
            store.client().create_bucket(Bucket=BUCKET)
            yield store
        finally:
            proxy.shutdown()
            proxy.server_close()
            server.stop()
            forget_connections()


def forget_connections() -> None:
    """Make new ones, with the environment as it is then."""
    from segkit.storage import shards, stores

    stores._open.clear()
    shards.forget()
