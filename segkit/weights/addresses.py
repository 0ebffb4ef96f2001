"""Addresses of http and https: what is asked for, where a server may send us, what it is told."""

import urllib.parse
import urllib.request
from http.client import HTTPMessage
from typing import IO

from segkit.errors import DownloadError
from segkit.shared_text import without_secrets

_KEPT = "/%:=&?~#+!$,;'@()*[]"  # in a path and a query, as they were given
_LONGEST_TAG = 1000  # characters of an ETag or date, which is sent back as it is


class HttpAlone(urllib.request.HTTPRedirectHandler):
    """Follows a server to other addresses of http and https; from https never to http, where
    anybody on the way can put another file in the place of the one asked for."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        schemes = [urllib.parse.urlsplit(address).scheme for address in (req.full_url, newurl)]
        if schemes[1] != 'https' and schemes != ['http', 'http']:
            raise DownloadError(
                f'{without_secrets(req.full_url)}: the server sends us on to '
                f'{without_secrets(newurl)}, which is not followed: it is no https. Fetch the file '
                'by other means and give its path.'
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def request_of(url: str) -> urllib.request.Request:
    """What to ask for: http or https alone, the path quoted where it has to be.

    Raises:
        DownloadError: it is no such address, or holds a password.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        place = parts.netloc.encode('idna' if not parts.netloc.isascii() else 'ascii').decode()
        wrong = parts.scheme not in ('http', 'https') or not parts.hostname or parts.port == 0
        wrong = wrong or not url.isprintable()
    except ValueError as error:  # a port or host that is none
        raise DownloadError(f'{without_secrets(url)}: is no address ({error}).') from None
    if '@' in place:
        raise DownloadError(
            f'{without_secrets(url)}: an address with a name and password in it would be saved '
            'with the run. Fetch the file by other means and give its path.'
        )
    if wrong:
        raise DownloadError(f'{without_secrets(url)!r}: is no address of http or https.')
    path, query = (urllib.parse.quote(part, safe=_KEPT) for part in (parts.path, parts.query))
    asked = urllib.parse.urlunsplit((parts.scheme, place, path, query, ''))
    headers = {'User-Agent': 'segkit', 'Accept-Encoding': 'identity'}
    return urllib.request.Request(asked, headers=headers)


def sendable(text: str) -> str:
    """What can be sent back in a line of a request; '' for what cannot, or was damaged here."""
    plain = text.isascii() and text.isprintable() and len(text) <= _LONGEST_TAG
    return text if plain else ''
