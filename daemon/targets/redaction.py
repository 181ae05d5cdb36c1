"""Describes failed attempts for the log without addresses, which may contain a token."""

from __future__ import annotations

import os
import re
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import parse_qsl, unquote, urlsplit

HIDDEN = "…"
MAX_REASON = 200
"""Maximum characters of a reason."""
MIN_SECRET = 4
"""Minimum characters of a piece that is hidden; shorter ones occur in ordinary words."""
_NUMERIC = re.compile(
    r"\[?\b(?:\d{1,3}(?:\.\d{1,3}){3}\b|[0-9a-f]*:[0-9a-f:]*:[0-9a-f]*)\]?(?::\d+)?"
)


def redactor(url: str, secrets: Iterable[str] = ()) -> Callable[[str], str]:
    """Return a function that hides a URL and other secrets in any text.

    Hidden are the whole URL, its host, user info, path and query, and each piece of them, both as
    written and decoded.
    """
    found: set[str] = set()
    for each in url.split(";"):  # a broker URL may name several brokers
        split = urlsplit(each)
        pieces = [each, split.netloc, split.hostname, split.username, split.password]
        pieces += [split.path, *split.path.split("/"), f"{split.path}?{split.query}", split.query]
        pieces += [value for _, value in parse_qsl(split.query)]
        found.update(piece for piece in pieces if piece)
    found.update(word for secret in secrets for word in (secret, *secret.split()))
    found.update([unquote(piece) for piece in found])
    # Longer pieces first, so that no part of one stays.
    hidden = sorted((each for each in found if len(each) >= MIN_SECRET), key=len, reverse=True)
    if not hidden:
        return str
    pattern = re.compile("|".join(map(re.escape, hidden)), re.IGNORECASE)
    return lambda text: pattern.sub(HIDDEN, text)


def describe_error(error: BaseException, hide: Callable[[str], str]) -> str:
    """Return the error's name and the system's description of it.

    The texts of libraries contain addresses, so they are used only if there is no other.
    """
    description = next(_system_descriptions(error), "") or _NUMERIC.sub(HIDDEN, str(error))
    text = " ".join(hide(description).split())
    return f"{type(error).__name__}: {text}"[:MAX_REASON] if text else type(error).__name__


def _system_descriptions(error: BaseException | None) -> Iterator[str]:
    """Yield the system's description of an error and of its causes."""
    for _ in range(10):
        if error is None:
            return
        inner = getattr(error, "certificate_error", None) or getattr(error, "os_error", None)
        match inner or error:
            case ssl.SSLCertVerificationError() as cause:
                yield f"certificate verify failed: {cause.verify_message}"
            case ssl.SSLError() as cause:
                reason = getattr(cause, "reason", None) or "TLS failed"  # not always set
                yield reason.replace("_", " ").lower()
            case socket.gaierror() as cause:
                yield str(cause.strerror)
            case OSError(errno=int(number)):
                yield os.strerror(number)
        error = error.__cause__ or error.__context__
