"""Errors as responses: ``{"message", "detail"}``, with ``errors`` where fields are invalid.

`message` is a fixed text for programs; docs/api.md lists the texts. `detail` describes the
particular error. Neither contains the database's address, a statement or a traceback.
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
from daemon.domain.run.held import ConfirmationRequired

INTERNAL_ERROR = "Internal Server Error - Please contact support for more information."
SAVE_FAILED = "Failed to save schedule"
UNAVAILABLE = "Service Unavailable - The service is temporarily unavailable. Try again later."
RETRY_AFTER_S = 2

_MESSAGES = {
    404: "Not found",
    405: "Method not allowed",
}
SAFE_HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
"""Headers of every response that does not set its own."""
_CHALLENGE = 'Bearer realm="campaignd"'
"""Without Basic, for which browsers ask the user for a key and then send it with every request."""


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


class BodyTooLarge(CampaigndError):
    """Request body too large"""

    status = 413


class UnsupportedMediaType(CampaigndError):
    """Unsupported media type"""

    status = 415


class UnknownHost(CampaigndError):
    """Unknown host"""

    status = 421


class ClientDisconnected(Exception):
    """The client has closed the connection, so that no response is possible."""


def problem_response(
    status: int,
    message: str,
    detail: str = "",
    errors: Mapping[str, list[str]] | None = None,
    headers: Mapping[str, str] | None = None,
    count: int | None = None,
) -> Response:
    """Return an error response."""
    body: dict[str, Any] = {"message": message, "detail": detail or message}
    if count is not None:
        body["count"] = count
    if errors:
        body["errors"] = dict(errors)
    return JSONResponse(body, status, headers=dict(headers or {}))


def error_response(error: CampaigndError) -> Response:
    """Return the response for an error that campaignd raises on purpose."""
    headers: dict[str, str] = dict(getattr(error, "headers", {}))
    if isinstance(error, Unavailable):
        if not error.retryable:  # a privilege of the database's role is missing
            return problem_response(503, UNAVAILABLE, error.detail)
        headers["Retry-After"] = str(RETRY_AFTER_S)
        return problem_response(503, UNAVAILABLE, _unavailable_detail(error), headers=headers)
    if error.status >= 500:
        return problem_response(500, INTERNAL_ERROR)
    if error.status == 401:
        headers["WWW-Authenticate"] = _CHALLENGE
    if isinstance(error, ConfirmationRequired):
        return problem_response(409, error.message, error.detail, count=error.count)
    if error.status == 409:
        headers["Retry-After"] = "1"
    return problem_response(error.status, error.message, error.detail, error.errors, headers)


def _unavailable_detail(error: Unavailable) -> str:
    """Return the reason; the driver's text may contain the database's address."""
    if type(error) is Unavailable:
        return error.detail
    if error.is_outage:
        return "the database cannot be reached"
    return "another change of the same rows was under way"


async def on_campaignd_error(_request: Request, error: Exception) -> Response:
    """Handle errors that campaignd raises on purpose."""
    assert isinstance(error, CampaigndError)
    return error_response(error)


async def on_http_error(request: Request, error: Exception) -> Response:
    """Handle errors of the router: an unknown path, a method that the path does not have."""
    assert isinstance(error, HTTPException)
    message = _MESSAGES.get(error.status_code, str(error.detail))
    detail = {
        404: "the path does not exist",
        405: f"{request.method} is not supported at this path",
    }.get(error.status_code, str(error.detail))
    headers = dict(error.headers or {})
    if error.status_code == 405:
        # The router names the methods of one route, but a path may have several routes.
        headers["Allow"] = ", ".join(_methods_of_path(request)) or headers.get("Allow", "")
    return problem_response(error.status_code, message, detail, headers=headers)


def _methods_of_path(request: Request) -> list[str]:
    """Return the methods that the OpenAPI document has for the request's path, and HEAD."""
    path = request.scope["path"]
    matching = [
        (template, methods)
        for template, pattern, methods in request.app.state.patterns
        if pattern.match(path)
    ]
    # A path of its own goes before one with a parameter that happens to match.
    own = [methods for template, methods in matching if template == path]
    chosen = own or [methods for _, methods in matching]
    found = {method.upper() for methods in chosen for method in methods}
    return sorted(found | {"HEAD"} if "GET" in found else found)


async def on_invalid_parameters(_request: Request, error: Exception) -> Response:
    """Handle query parameters that are invalid by the OpenAPI document."""
    assert isinstance(error, RequestValidationError)
    errors: dict[str, list[str]] = {}
    for fault in error.errors():
        name = str(fault["loc"][-1]) if len(fault["loc"]) > 1 else str(fault["loc"][0])
        errors.setdefault(name, []).append(_decapitalise(str(fault["msg"])))
    detail = "; ".join(f"{name}: {text}" for name, texts in errors.items() for text in texts)
    return problem_response(400, "Invalid parameters", detail, errors)


async def on_unexpected_error(request: Request, _error: Exception) -> Response:
    """Handle every other error; the middleware logs it."""
    route = request.scope.get("route")
    is_save = getattr(route, "name", "") == "schedule_save"
    request_id = request.scope["state"].get("request_id", "")
    detail = f"request {request_id} failed; the log has the error under this request id"
    return problem_response(500, SAVE_FAILED if is_save else INTERNAL_ERROR, detail)


def problem_bytes(status: int, phrase: str, message: str, detail: str = "") -> bytes:
    """Return an error as HTTP/1.1 bytes, for a request that does not reach the application."""
    body = json.dumps({"message": message, "detail": detail or message}).encode()
    headers = {
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Connection": "close",
        **SAFE_HEADERS,
    }
    if status == 503:
        headers["Retry-After"] = str(RETRY_AFTER_S)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"HTTP/1.1 {status} {phrase}\r\n{lines}\r\n"
    return head.encode("ascii") + body


def _decapitalise(text: str) -> str:
    return text[:1].lower() + text[1:]
