"""The connections of webhooks: TLS, names, and limits on what a receiver may send.

aiohttp parses everything that has arrived in one call, and skips interim responses without a limit.
A receiver that sends them without an end would hold the event loop, which fires the other targets.
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import socket
import ssl
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import (  # type: ignore[attr-defined]
    getproxies_environment,
    proxy_bypass_environment,
)

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler

from daemon.targets import UnusableTarget

PIECE = 4096
"""Bytes that are parsed at once."""
HEAD_LIMIT = 64 * 1024
"""Maximum bytes before the end of the final head, interim responses included."""
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""Addresses behind which a network reaches IPv4 (RFC 6052)."""
MAX_INTERIM = 100
"""Maximum interim responses (100 Continue, 103 Early Hints) to one request."""


class LimitedResponse(ResponseHandler):
    """Reads one response, and closes the connection when the receiver sends too much of another."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._before_head = 0
        self._interim = 0
        self._final = 0

    def set_response_params(self, **params: Any) -> None:
        """Start counting again: the connection is used for another request."""
        self._before_head = self._interim = self._final = 0
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
        """Parse what has arrived, in pieces, as far as the limits allow."""
        if not data:
            super().data_received(data)
        for start in range(0, len(data), PIECE):
            if self.transport is None or self.transport.is_closing():
                return
            piece = data[start : start + PIECE]
            super().data_received(piece)
            if not self._final:
                self._before_head += len(piece)
                self._reschedule_timeout()  # aiohttp stops it at an interim response
            if self._before_head > HEAD_LIMIT or self._interim > MAX_INTERIM:
                self._refuse("too much data before the response")
            elif self._final > 1:
                self._refuse("more than one response")

    def feed_data(self, item: Any, size: int = 0) -> None:
        """Count a response and pass it on, unless it is an interim one."""
        code = item[0].code
        if 100 <= code < 200 and code != 101:
            self._interim += 1
            return  # aiohttp's reader would only skip the response
        self._final += 1
        super().feed_data(item, size)

    def _refuse(self, reason: str) -> None:
        if self.transport is not None:
            self.transport.abort()
        if self._exception is None:
            self.set_exception(aiohttp.ClientPayloadError(reason))


class Connector(aiohttp.TCPConnector):
    """Opens connections whose responses are limited."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._factory = functools.partial(  # type: ignore[assignment]
            LimitedResponse, loop=self._loop
        )


def proxy_of(url: str, setting: str) -> str | None:
    """Return the URL of the proxy for requests to ``url``; None: connect directly.

    Args:
        setting: a proxy's URL, ``none``, or ``env``: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and
            NO_PROXY, also in lower case.

    Raises:
        UnusableTarget: the environment names a proxy that is no HTTP proxy.
    """
    if setting != "env":
        return None if setting == "none" else setting
    parts, proxies = urlsplit(url), getproxies_environment()
    found = proxies.get(parts.scheme) or proxies.get("all")
    if not found or proxy_bypass_environment(parts.netloc.rpartition("@")[2], proxies):
        return None
    scheme, separator, _ = found.partition("://")
    if not separator:
        return f"http://{found}"
    if scheme not in ("http", "https"):
        raise UnusableTarget(f"proxy: the environment names a {scheme} proxy; allowed: http, https")
    return found


class ForbiddenAddress(OSError):
    """The receiver's address is in no network that the target may connect to"""


class Networks:
    """The networks that a target may connect to.

    An address is checked when its socket is opened, so a name that changes its address between two
    look-ups is checked too.

    Args:
        allow: networks that are allowed; none: all that are not denied.
        deny: networks that are not allowed, even as a part of an allowed one.
    """

    def __init__(self, allow: Iterable[str], deny: Iterable[str]) -> None:
        self._allow = [ipaddress.ip_network(network) for network in allow]
        self._deny = [ipaddress.ip_network(network) for network in deny]

    def __bool__(self) -> bool:
        return bool(self._allow or self._deny)

    def permit(self, address: str) -> bool:
        """Return whether an address, written in digits, may be connected to."""
        found: ipaddress.IPv4Address | ipaddress.IPv6Address
        found = ipaddress.ip_address(address.partition("%")[0])
        reached = [found]
        if isinstance(found, ipaddress.IPv6Address):
            if found.ipv4_mapped is not None:
                reached = [found.ipv4_mapped]
            elif found.sixtofour is not None:
                reached.append(found.sixtofour)
            elif found in _NAT64:
                reached.append(ipaddress.IPv4Address(int(found) & 0xFFFF_FFFF))
        if any(each in network for each in reached for network in self._deny):
            return False
        return not self._allow or any(reached[0] in network for network in self._allow)

    def open_socket(self, address: Any) -> socket.socket:
        """Return a socket for an address, as `socket.getaddrinfo` describes it.

        Raises:
            ForbiddenAddress: no socket may be connected to the address.
        """
        family, kind, proto, _, (host, *_) = address
        if not self.permit(host):
            raise ForbiddenAddress("the receiver's address is in no allowed network")
        return socket.socket(family=family, type=kind, proto=proto)


def tls_context(
    url: str,
    *,
    verify: bool,
    ca_file: Path | None,
    client_cert: Path | None = None,
    client_key: Path | None = None,
) -> ssl.SSLContext | bool:
    """Return the TLS options of requests to a URL.

    Args:
        client_cert: the certificate that the receiver gets; None: no certificate.
        client_key: its key; None: ``client_cert`` has the key too.

    Raises:
        UnusableTarget: a file cannot be used, or the URL uses no TLS.
    """
    if client_key is not None and client_cert is None:
        raise UnusableTarget("client_key needs client_cert")
    if not url.startswith("https:"):
        if client_cert is not None:
            raise UnusableTarget("client_cert needs a URL that begins with https://")
        return True
    if not verify and client_cert is None:
        return False
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise UnusableTarget(f"ca_file {ca_file}: {error}") from error
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if client_cert is not None:
        try:
            # Without a password here, OpenSSL would ask for one on the terminal.
            context.load_cert_chain(client_cert, client_key, password=lambda: "")
        except (OSError, ssl.SSLError) as error:
            raise UnusableTarget(f"client_cert {client_cert}: {error}") from error
    return context


class Resolver(AbstractResolver):
    """Resolves names in this target's own threads: a dead name server delays no other target."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="resolve")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a host."""
        addresses = await asyncio.get_running_loop().run_in_executor(
            self._pool,
            lambda: socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, family=family, flags=socket.AI_ADDRCONFIG
            ),
        )
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=int(address[1]),
                family=found_family,
                proto=proto,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for found_family, _, proto, _, address in addresses
        ]

    async def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)
