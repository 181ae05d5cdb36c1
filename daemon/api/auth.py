"""Who calls: the key out of the Authorization header, and whether its scope is large enough."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Awaitable, Callable

from starlette.requests import Request

from daemon.api.errors import Forbidden, Unauthorized
from daemon.api.requests import key_of
from daemon.domain.api_keys import Scope

_is_secret = re.compile(r"[\x21-\x39\x3b-\x7e]{1,200}").fullmatch


def secret_of(authorizations: list[bytes]) -> str:
    """The key that the Authorization headers of a request carry.

    ``Bearer KEY``, or ``Basic`` with the key as user name and an empty password.

    Raises:
        Unauthorized: there is none, more than one, or one that can not be read.
    """
    if len(authorizations) != 1:
        raise Unauthorized("send one Authorization header with an API key")
    scheme, _, given = authorizations[0].decode("latin-1").partition(" ")
    given = given.strip(" ")
    match scheme.lower():
        case "bearer":
            secret = given
        case "basic":
            secret = _user_name(given)
        case _:
            raise Unauthorized("the Authorization header is neither Bearer nor Basic")
    if _is_secret(secret) is None:
        raise Unauthorized("the Authorization header carries no API key")
    return secret


def _user_name(encoded: str) -> str:
    try:
        text = base64.b64decode(encoded.encode("ascii"), validate=True).decode("ascii")
    except (UnicodeError, binascii.Error):
        raise Unauthorized("the Basic credentials are not base64 of ASCII text") from None
    user_name, colon, password = text.partition(":")
    if not colon or password:
        raise Unauthorized("Basic needs the API key as user name and an empty password")
    return user_name


def needs(scope: Scope) -> Callable[[Request], Awaitable[None]]:
    """A dependency that lets only keys of this scope pass, before anything is looked up."""

    async def check(request: Request) -> None:
        key = key_of(request)
        if not key.scope.includes(scope):
            raise Forbidden(f"this needs the scope {scope}; the key {key.name!r} has {key.scope}")

    return check
