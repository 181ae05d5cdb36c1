"""Errors as answers: always ``{"message", "detail"}``, with ``errors`` where fields are at fault.

`message` is a fixed text, the seeds' own where they have one; `detail` says what exactly. Nothing
of the database's address, of a statement or of a traceback gets into either.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from daemon.domain.errors import CampaigndError, Unavailable

NOT_AUTHORIZED = "Not authorized"
PERMISSION_DENIED = "Permission denied"
RATE_LIMITED = "Rate limit exceeded"
FAULT = "Internal Server Error - Please contact support for more information."
SAVE_FAILED = "Failed to save schedule"
UNAVAILABLE = "Service Unavailable - The service is temporarily unavailable. Try again later."
RETRY_AFTER_S = 2

_TEXTS = {
    404: "Not found",
    405: "Method not allowed",
}
_CHALLENGES = 'Bearer realm="campaignd", Basic realm="campaignd", charset="UTF-8"'


class Unauthorized(CampaigndError):
    """Not authorized"""

    status = 401


class Forbidden(CampaigndError):
    """Permission denied"""

    status = 403


class TooManyRequests(CampaigndError):
    """Rate limit exceeded"""

    status = 429

    def __init__(self, detail: str, headers: Mapping[str, str]) -> None:
        super().__init__(detail)
        self.headers = dict(headers)


class TooLarge(CampaigndError):
    """Request body too large"""

    status = 413


class ClientGone(Exception):
    """The client has left; there is nobody to answer."""


def problem(
    status: int,
    message: str,
    detail: str = "",
    errors: Mapping[str, list[str]] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """One error as an answer."""
    body: dict[str, Any] = {"message": message, "detail": detail or message}
    if errors:
        body["errors"] = dict(errors)
    return JSONResponse(body, status, headers=dict(headers or {}))


def answer_to(error: CampaigndError) -> Response:
    """What we raise on purpose, as an answer."""
    headers: dict[str, str] = dict(getattr(error, "headers", {}))
    if isinstance(error, Unavailable):
        # The driver's words may name the database's address; they are in the log.
        headers["Retry-After"] = str(RETRY_AFTER_S)
        detail = error.detail if type(error) is Unavailable else "the database can not be reached"
        return problem(503, UNAVAILABLE, detail, headers=headers)
    if error.status >= 500:
        return problem(500, FAULT)
    if error.status == 401:
        headers["WWW-Authenticate"] = _CHALLENGES
    if error.status == 409:
        headers["Retry-After"] = "1"
    return problem(error.status, error.message, error.detail, error.errors, headers)


async def on_campaignd_error(_request: Request, error: Exception) -> Response:
    """Handler for everything of ours."""
    assert isinstance(error, CampaigndError)
    return answer_to(error)


async def on_http_error(request: Request, error: Exception) -> Response:
    """Handler for what the router says: no such path, not this method."""
    assert isinstance(error, HTTPException)
    message = _TEXTS.get(error.status_code, str(error.detail))
    detail = {
        404: "there is nothing at this path",
        405: f"{request.method} is not possible here",
    }.get(error.status_code, str(error.detail))
    headers = dict(error.headers or {})
    if error.status_code == 405:
        # The router names one route's methods; a path may have several routes.
        headers["Allow"] = ", ".join(methods_of(request)) or headers.get("Allow", "")
    return problem(error.status_code, message, detail, headers=headers)


def methods_of(request: Request) -> list[str]:
    """The methods that the specification has for a path."""
    patterns = request.app.state.patterns
    found = {
        method.upper()
        for pattern, methods in patterns
        if pattern.match(request.scope["path"])
        for method in methods
    }
    return sorted(found)


async def on_invalid_parameters(_request: Request, error: Exception) -> Response:
    """Handler for parameters of a query that are not what the specification says."""
    assert isinstance(error, RequestValidationError)
    errors: dict[str, list[str]] = {}
    for fault in error.errors():
        name = str(fault["loc"][-1]) if len(fault["loc"]) > 1 else str(fault["loc"][0])
        errors.setdefault(name, []).append(_decapitalised(str(fault["msg"])))
    detail = "; ".join(f"{name}: {text}" for name, texts in errors.items() for text in texts)
    return problem(400, "Invalid parameters", detail, errors)


async def on_fault(request: Request, _error: Exception) -> Response:
    """Handler for a fault of ours; the log has what happened."""
    route = request.scope.get("route")
    is_save = getattr(route, "name", "") == "save_schedule"
    detail = f"request {request.scope['state'].get('request_id', '')} failed; the log says why"
    return problem(500, SAVE_FAILED if is_save else FAULT, detail)


def raw_problem(status: int, phrase: str, message: str, detail: str = "") -> bytes:
    """An error as a whole HTTP/1.1 response, for connections that get no further."""
    body = json.dumps({"message": message, "detail": detail or message}).encode()
    retry = f"Retry-After: {RETRY_AFTER_S}\r\n" if status == 503 else ""
    head = (
        f"HTTP/1.1 {status} {phrase}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n{retry}Connection: close\r\n\r\n"
    )
    return head.encode("ascii") + body


def _decapitalised(text: str) -> str:
    return text[:1].lower() + text[1:]
