"""Reverse proxies: the address and scheme of a client, and the names of the API's host."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope

_ALWAYS_SERVED = frozenset({"/healthz", "/readyz"})
"""Paths that probes call by the address of a container."""


class Proxies:
    """The trusted proxies; they alone may state the address of a client.

    Args:
        trusted: networks or addresses of the proxies.
    """

    def __init__(self, trusted: Sequence[str] = ()) -> None:
        self._networks = [ipaddress.ip_network(each, strict=False) for each in trusted]

    def is_trusted(self, address: str) -> bool:
        """Return whether the address is that of a trusted proxy."""
        if not self._networks:
            return False
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
            found = found.ipv4_mapped
        return any(found in network for network in self._networks)

    def apply_forwarded_headers(self, scope: Scope) -> None:
        """Set the client and the scheme that a trusted proxy reports.

        ``X-Forwarded-For`` is read from its end: every proxy appends the address that it saw, and
        a client can write anything before it.
        """
        client = scope.get("client")
        if client is None or not self.is_trusted(client[0]):
            return
        headers = Headers(scope=scope)
        address = client[0]
        forwarded = ",".join(headers.getlist("x-forwarded-for"))
        for each in reversed([part.strip() for part in forwarded.split(",")]):
            try:
                ipaddress.ip_address(each)
            except ValueError:
                break
            address = each
            if not self.is_trusted(each):
                break
        scope["client"] = (address, 0)
        scheme = headers.get("x-forwarded-proto", "").rpartition(",")[2].strip().lower()
        if scheme in ("http", "https"):
            scope["scheme"] = scheme


class Site:
    """The names under which browsers and clients reach the API.

    Args:
        public_url: the URL that users open, or None.
        hosts: the names that a request may be sent to; empty: every name.
    """

    def __init__(self, public_url: str | None = None, hosts: Sequence[str] = ()) -> None:
        public = urlsplit(public_url or "")
        self.netloc = public.netloc.lower()
        self.is_https = public.scheme == "https"
        self._hosts = {each.lower() for each in hosts}
        if self._hosts and public.hostname:
            self._hosts.add(public.hostname)

    def is_host_allowed(self, scope: Scope) -> bool:
        """Return whether the request was sent to an allowed name."""
        if not self._hosts or scope["path"] in _ALWAYS_SERVED:
            return True
        host = Headers(scope=scope).get("host", "").lower()
        try:
            return (urlsplit(f"//{host}").hostname or "") in self._hosts
        except ValueError:
            return False
