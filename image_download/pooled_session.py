"""Carries oss2's signed requests over urllib3: a pool of connections, bodies as they are, and a way to break off.

oss2 takes any session with a `do_request`. It goes on signing every request anew, by its public ways,
with the credentials of that moment, in a header (a signed URL would put the token where transports
log and print it); only the bytes travel differently. requests, which oss2 uses by itself, decodes
bodies, hands them out in small copies and cannot be broken off from another thread.
"""

from __future__ import annotations

import contextlib
import http.client
import threading
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import oss2
import requests
import urllib3

from image_download.http_body import POOLS, body_of
from migration.cloud import is_loopback
from migration.errors import CloudRefused, CloudUnavailable, InvalidInput
from migration.proxy import check_proxies


class PooledSession:
    """The connections of one download to one endpoint. Thread-safe."""

    def __init__(self, url: str, *, connections: int, connect_timeout: float, read_timeout: float) -> None:
        """Prepare for `url`, by the proxy and the certificates that the environment names; nothing is sent yet."""
        self._timeout = urllib3.Timeout(connect=connect_timeout, read=read_timeout)
        self._pool = _open_pool(url, connections)
        self._pool.pool_classes_by_scheme = POOLS
        self._mutex = threading.Lock()
        self._live: set[PooledReply] = set()

    def do_request(self, request: oss2.http.Request, timeout: object) -> PooledReply:  # noqa: ARG002  # ours is better
        """Send a signed request and return the answer once its headers are there.

        Raises oss2's `RequestError` where the network failed, `CloudRefused` where the other side is not to
        be trusted.
        """
        url = request.url
        if request.params:
            url += "?" + urlencode({key: value or "" for key, value in request.params.items()}, quote_via=quote)
        headers = {name: value for name, value in request.headers.items() if value is not None}
        try:
            response = self._pool.urlopen(
                request.method, url, headers=headers, body=request.data, timeout=self._timeout,
                preload_content=False, decode_content=False, redirect=False, retries=False,
            )  # fmt: skip
        except urllib3.exceptions.ProxyError as error:
            if "407" in str(error.original_error):
                raise CloudRefused(
                    "the proxy wants a name and a password, or others",
                    "give them in HTTPS_PROXY, as http://name:password@host:port",
                ) from None
            raise oss2.exceptions.RequestError(error) from None
        except urllib3.exceptions.SSLError as error:
            if "certificate verify failed" in str(error).lower():
                raise CloudRefused(
                    f"{urlsplit(url).hostname}: its certificate is not to be trusted ({error})",
                    "where a proxy opens TLS, name its certificate in REQUESTS_CA_BUNDLE",
                ) from None
            raise oss2.exceptions.RequestError(error) from None
        except urllib3.exceptions.HTTPError as error:
            raise oss2.exceptions.RequestError(error) from None
        reply = PooledReply(self, response)
        with self._mutex:
            self._live.add(reply)
        return reply

    def forget(self, reply: PooledReply) -> None:
        """Called by a reply that is over."""
        with self._mutex:
            self._live.discard(reply)

    def abort(self) -> None:
        """Wake every thread that waits for a body; what it waits for fails."""
        with self._mutex:
            live = list(self._live)
        for reply in live:
            reply.abort()

    def close(self) -> None:
        """Close all connections."""
        with self._mutex:
            live = list(self._live)
        for reply in live:
            reply.close()
        self._pool.clear()


class PooledReply:
    """An answer, its body unread: what oss2 asks of a response, and `readinto`."""

    def __init__(self, session: PooledSession, response: urllib3.BaseHTTPResponse) -> None:
        self._session = session
        self._response = response
        self._body = body_of(response)
        self.status = response.status
        self.headers = response.headers
        self.request_id = response.headers.get("x-oss-request-id", "")

    def read(self, amount: int | None = None) -> bytes:
        """Return up to `amount` bytes of the body (oss2 reads the text of an error by this), all by default."""
        try:
            return bytes(self._response.read(amount, decode_content=False))
        except urllib3.exceptions.HTTPError as error:
            raise oss2.exceptions.RequestError(error) from None
        finally:
            if self.status // 100 != 2:
                self.close()

    def readinto(self, view: memoryview) -> int:
        """Put what has come of the body into `view`, as soon as anything has; 0 at its end.

        Raises `CloudUnavailable` where the connection fails or the body ends early.
        """
        try:
            # What one recv brought: a trickle is seen as one, and a view need not be full to be counted.
            return self._body.readinto1(view)
        except (http.client.HTTPException, OSError, ValueError) as error:  # ValueError: closed by another thread
            raise CloudUnavailable(f"the connection broke within a body ({error})", "try again") from None

    def abort(self) -> None:
        """Make the thread that waits for this body fail, from another thread."""
        # ValueError, RuntimeError, OSError: the body ended by itself in this moment.
        with contextlib.suppress(ValueError, RuntimeError, OSError):
            self._response.shutdown()

    def close(self) -> None:
        """Give the connection back to the pool if the body was read to its end, close it otherwise."""
        self._session.forget(self)
        if not self._response.closed:
            self._response.close()
        self._response.release_conn()


def _open_pool(url: str, connections: int) -> urllib3.PoolManager:
    environment: dict[str, Any] = {"proxies": {}, "verify": True}
    if not is_loopback(urlsplit(url).hostname or ""):  # a proxy has no business with this machine
        check_proxies()
        # As requests does it, and so oss2: HTTPS_PROXY, NO_PROXY, REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE.
        with requests.Session() as session:
            environment = dict(session.merge_environment_settings(url, {}, None, None, None))
    verify = environment["verify"]
    options: dict[str, Any] = {
        "maxsize": connections,
        "cert_reqs": "CERT_REQUIRED",
        "ca_certs": verify if isinstance(verify, str) else requests.utils.DEFAULT_CA_BUNDLE_PATH,
    }
    proxy = requests.utils.select_proxy(url, environment["proxies"])
    if not proxy:
        return urllib3.PoolManager(**options)
    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    if parts.scheme not in {"http", "https"}:
        raise InvalidInput(f"a {parts.scheme} proxy cannot be used for downloads", "name an http proxy in HTTPS_PROXY")
    user, password = requests.utils.get_auth_from_url(parts.geturl())
    headers = urllib3.make_headers(proxy_basic_auth=f"{user}:{password}") if user else None
    host = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    return urllib3.ProxyManager(host, proxy_headers=headers, **options)
