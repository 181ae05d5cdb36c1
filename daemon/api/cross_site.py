"""Tells requests that a page of another site made from all other requests."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

_OWN_SITE = ("same-origin", "none")


def is_cross_site(headers: Mapping[str, str], public_netloc: str = "") -> bool:
    """Return whether the browser reports that another site's page sent the request.

    Only the browser can set ``Sec-Fetch-Site``, so that it decides where it is sent. Browsers omit
    it for plain HTTP; then the origin is compared with the address that the request was sent to.

    Args:
        headers: of the request.
        public_netloc: host and port that users open, if a proxy sends another Host.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in _OWN_SITE
    origin = headers.get("origin")
    if origin is None:
        return False
    netloc = urlsplit(origin).netloc
    return netloc != headers.get("host") and (not netloc or netloc != public_netloc)
