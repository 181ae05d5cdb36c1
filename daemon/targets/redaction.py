"""Why an attempt failed, in words for the log: never an address, which may have a token in it."""

from __future__ import annotations

import os
import re
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import parse_qsl, unquote, urlsplit

HIDDEN = "…"
LONGEST = 200
"""Characters that a reason has at most."""
SHORTEST = 4
"""Characters of a part that is hidden; shorter ones are in every other word."""
_NUMERIC = re.compile(
    r"\[?\b(?:\d{1,3}(?:\.\d{1,3}){3}\b|[0-9a-f]*:[0-9a-f:]*:[0-9a-f]*)\]?(?::\d+)?"
)


def redactor(url: str, secrets: Iterable[str] = ()) -> Callable[[str], str]:
    """What replaces, in any text, all that must not be shown of a URL, and other secrets.

    The whole, its host, user info, path, query, and each piece of these, as written and decoded.
    """
    found: set[str] = set()
    for each in url.split(";"):  # a broker's may be several
        split = urlsplit(each)
        pieces = [each, split.netloc, split.hostname, split.username, split.password]
        pieces += [split.path, *split.path.split("/"), f"{split.path}?{split.query}", split.query]
        pieces += [value for _, value in parse_qsl(split.query)]
        found.update(piece for piece in pieces if piece)
    found.update(word for secret in secrets for word in (secret, *secret.split()))
    found.update([unquote(piece) for piece in found])
    longest_first = sorted((each for each in found if len(each) >= SHORTEST), key=len, reverse=True)
    if not longest_first:
        return str
    pattern = re.compile("|".join(map(re.escape, longest_first)), re.IGNORECASE)
    return lambda text: pattern.sub(HIDDEN, text)


def describe_error(error: BaseException, hide: Callable[[str], str]) -> str:
    """The error's name and what the system says of it: libraries' own words have addresses."""
    said = next(_said(error), "") or _NUMERIC.sub(HIDDEN, str(error))
    text = " ".join(hide(said).split())
    return f"{type(error).__name__}: {text}"[:LONGEST] if text else type(error).__name__


def _said(error: BaseException | None) -> Iterator[str]:
    """The system's words for an error, or for what it came of."""
    for _ in range(10):
        if error is None:
            return
        inner = getattr(error, "certificate_error", None) or getattr(error, "os_error", None)
        match inner or error:
            case ssl.SSLCertVerificationError() as cause:
                yield f"certificate verify failed: {cause.verify_message}"
            case ssl.SSLError() as cause:
                reason = getattr(cause, "reason", None) or "TLS failed"  # not always there
                yield reason.replace("_", " ").lower()
            case socket.gaierror() as cause:
                yield str(cause.strerror)
            case OSError(errno=int(number)):
                yield os.strerror(number)
        error = error.__cause__ or error.__context__
