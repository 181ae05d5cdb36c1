"""Tells requests that a page of another site made from all other requests."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

_OWN_SITE = ("same-origin", "none")


def is_cross_site(headers: Mapping[str, str]) -> bool:
    """Return whether the browser reports that another site's page sent the request.

    Only the browser can set ``Sec-Fetch-Site``, so that it decides where it is sent. Browsers omit
    it for plain HTTP; then the origin is compared with the address that the request was sent to.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in _OWN_SITE
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != headers.get("host")
