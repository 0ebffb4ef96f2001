"""What the server of the page answers to: what the page asks for, and nothing else.

Gradio has more routes than the page uses. Some fetch an address for whoever asks, others call
functions or read files by name. Here only what a browser with the page needs gets through: no other
route, no path or address in what it posts but those of its own uploads. The page may load nothing
from elsewhere, and no page from elsewhere may post to it.
"""

import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from segkit.json_file import parse_json

Message = MutableMapping[str, Any]  # of ASGI
Scope = Message
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[MutableMapping[str, object]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_API = '/gradio_api'
_READ = re.compile(
    r'/|/config/?|/theme\.css|/favicon\.ico|/manifest\.json|/robots\.txt|/(assets|static|svelte)/.*'
    rf'|{_API}/(info/?|app_id/?|startup-events/?|heartbeat/\w+|queue/data|upload_progress|file=/.*)'
)
_POSTED = re.compile(rf'{_API}/(queue/join|upload|reset|cancel)/?')
_JSON_BYTES = 200_000
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self'; worker-src 'self' blob:; object-src 'none'; base-uri 'self'"
)
_HEADERS = [
    (b'content-security-policy', POLICY.encode()),
    (b'referrer-policy', b'no-referrer'),
    (b'x-content-type-options', b'nosniff'),
]


class Guard:
    """ASGI middleware: refuses with 403 what the page does not ask for, and sets the policy."""

    def __init__(self, app: App, uploads: str) -> None:
        self.app = app
        self.uploads = uploads.rstrip('/') + '/'

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope['type'] != 'http':
            if scope['type'] == 'lifespan':
                await self.app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message['type'] == 'http.response.start':
                message['headers'] = [*message.get('headers', []), *_HEADERS]
            await send(message)

        path, method = scope['path'], scope['method']
        if method in ('GET', 'HEAD') and _READ.fullmatch(path):
            await self.app(scope, receive, with_headers)
        elif method == 'POST' and _POSTED.fullmatch(path) and not _from_elsewhere(scope):
            if path.rstrip('/').endswith('/upload'):
                await self.app(scope, receive, with_headers)
                return
            body = await _body(receive)
            if body is not None and self._harmless(body):
                await self.app(scope, _again(body, receive), with_headers)
            else:
                await _refuse(with_headers)
        else:
            await _refuse(with_headers)

    def _harmless(self, body: bytes) -> bool:
        """Whether every file that a posted JSON names was uploaded here."""
        try:
            named = _paths(parse_json((body or b'{}').decode(), 'the request'))
        except (ValueError, RecursionError):
            return False
        return all(
            isinstance(path, str) and path.startswith(self.uploads) and '..' not in path
            for path in named
        )


def _from_elsewhere(scope: Scope) -> bool:
    """Whether a browser says that the page of another site has it post this; older ones name only
    where that page came from."""
    headers = dict(scope['headers'])
    site, origin = headers.get(b'sec-fetch-site'), headers.get(b'origin')
    if site is not None or origin is None:
        return site in (b'cross-site', b'same-site')
    host = headers.get(b'x-forwarded-host', headers.get(b'host', b''))
    return bool(origin.partition(b'://')[2] != host)


def _paths(value: object) -> list[object]:
    """Every value under 'path' in nested JSON, None left out."""
    if isinstance(value, list):
        return [path for item in value for path in _paths(item)]
    if not isinstance(value, dict):
        return []
    own = [value['path']] if value.get('path') is not None else []
    return own + [path for item in value.values() for path in _paths(item)]


async def _body(receive: Receive) -> bytes | None:
    """The whole body of a request, None where it is too long for what the page posts."""
    body = b''
    while True:
        message = await receive()
        body += message.get('body', b'')
        if len(body) > _JSON_BYTES or message['type'] == 'http.disconnect':
            return None
        if not message.get('more_body'):
            return body


def _again(body: bytes, receive: Receive) -> Receive:
    """A ``receive`` that gives ``body`` first."""
    first = [dict(type='http.request', body=body, more_body=False)]

    async def read() -> MutableMapping[str, object]:
        return first.pop() if first else await receive()

    return read


async def _refuse(send: Send) -> None:
    start = dict(type='http.response.start', status=403, headers=[(b'content-type', b'text/plain')])
    await send(start)
    await send(dict(type='http.response.body', body=b'This page does not serve that.'))
