"""Authentication by the Authorization header, and authorization by the key's scope."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

from fastapi import Depends
from starlette.requests import Request

from daemon.api.errors import Forbidden, Unauthorized
from daemon.api.parameters import refuse_unknown_parameters
from daemon.api.requests import api_key_of, refusal_log_of
from daemon.domain.api_keys import Scope
from daemon.domain.audit import Action, AuditEntry, AuditOutcome

PATH_LIMIT = 200
"""Characters of a refused request's path that the audit log keeps."""
_is_secret = re.compile(r"[\x21-\x39\x3b-\x7e]{1,200}").fullmatch


def secret_from_headers(authorizations: list[bytes]) -> str:
    """Return the API key from the Authorization headers of a request.

    The header is ``Bearer KEY``, or ``Basic`` with the key as user name and an empty password.

    Raises:
        Unauthorized: there is no header, more than one, or an unreadable one.
    """
    if len(authorizations) != 1:
        raise Unauthorized("send one Authorization header with an API key")
    scheme, _, credentials = authorizations[0].decode("latin-1").partition(" ")
    credentials = credentials.strip(" ")
    match scheme.lower():
        case "bearer":
            secret = credentials
        case "basic":
            secret = _basic_user_name(credentials)
        case _:
            raise Unauthorized("the scheme of the Authorization header must be Bearer or Basic")
    if _is_secret(secret) is None:
        raise Unauthorized("the Authorization header contains no API key")
    return secret


def secret_from_query(method: str, path: str, query: bytes) -> str | None:
    """Return the API key in the query of a calendar feed; None without one.

    Calendar programs send no headers of their own.
    """
    if method not in ("GET", "HEAD") or not path.endswith("/calendar.ics"):
        return None
    found = parse_qs(query.decode("latin-1")).get("key", [])
    return found[0] if len(found) == 1 and _is_secret(found[0]) else None


def _basic_user_name(encoded: str) -> str:
    try:
        text = base64.b64decode(encoded.encode("ascii"), validate=True).decode("ascii")
    except (UnicodeError, binascii.Error):
        raise Unauthorized("the Basic credentials must be ASCII text in base64") from None
    user_name, colon, password = text.partition(":")
    if not colon or password:
        detail = "the Basic credentials must be the API key as user name and an empty password"
        raise Unauthorized(detail)
    return user_name


def require_scope(*scopes: Scope) -> Callable[[Request], Awaitable[None]]:
    """Return a FastAPI dependency that refuses keys that include none of these scopes.

    FastAPI resolves the dependency before it calls the handler, so that no data is read for a
    refused key.
    """

    async def check_scope(request: Request) -> None:
        key = api_key_of(request)
        if not any(key.scope.includes(scope) for scope in scopes):
            needed = f"the scope {' or '.join(scopes)} is required"
            path = f"{request.method} {request.url.path}"
            entry = AuditEntry(
                Action.REQUEST_REFUSED,
                "path",
                path[:PATH_LIMIT],
                outcome=AuditOutcome.REFUSED,
                note=needed,
            )
            await refusal_log_of(request).record_refusal(f"key {key.id}", entry)
            raise Forbidden(f"{needed}; the key {key.name!r} has the scope {key.scope}")

    return check_scope


def _admit(*scopes: Scope) -> list[Any]:
    """Return a route's dependencies, in their order: its scopes, then its query parameters."""
    return [Depends(require_scope(*scopes)), Depends(refuse_unknown_parameters)]


READ = _admit(Scope.READ)
WRITE = _admit(Scope.WRITE)
ADMIN = _admit(Scope.ADMIN)
WORKER = _admit(Scope.WORKER)
READ_OR_FEED = _admit(Scope.READ, Scope.FEED)
READ_OR_WORKER = _admit(Scope.READ, Scope.WORKER)
