"""Reads a request: its strict, bounded JSON, its references and its conditions."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any
from uuid import UUID

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from daemon.api.errors import BodyTooLarge, ClientDisconnected, UnsupportedMediaType
from daemon.api.ports import ApiOptions, Backend
from daemon.api.refusal_log import RefusalLog
from daemon.domain.api_keys import ApiKey
from daemon.domain.errors import InvalidInput, NotFound
from daemon.domain.requests.fields import (
    NotJson,
    shown_value,
    strict_decoder,
)

MAX_NESTING = 64
LINES_TYPES = ("application/x-ndjson", "application/jsonl")
"""The media types of JSON lines."""
MESSAGE_OF_LINES = "Invalid import"
_BIGINT = 2**63 - 1
_UUID = r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
_is_uuid = re.compile(_UUID).fullmatch
_is_id = re.compile(r"[0-9]{1,19}").fullmatch
_is_idempotency_key = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?").fullmatch
_is_json = re.compile(r"application/(?:[a-z0-9.+-]+\+)?json", re.I).fullmatch
_RETURNS = ("return=representation", 'return="representation"')
_is_etag = re.compile(r'(?:W/)?"[\x21\x23-\x7e]*"').fullmatch


def _refuse_repeated_fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name in fields:
            raise NotJson(f"the field {shown_value(name)} is given twice")
        fields[name] = value
    return fields


_decoder = strict_decoder(object_pairs_hook=_refuse_repeated_fields)


def backend_of(request: Request) -> Backend:
    """Return the backend that the application was built with."""
    backend = request.app.state.backend
    assert isinstance(backend, Backend)
    return backend


async def read_body(request: Request) -> bytes:
    """Return the whole body.

    Raises:
        TooLarge: As soon as the body exceeds the limit.
        ClientGone: The client disconnected.
    """
    options = request.app.state.options
    assert isinstance(options, ApiOptions)
    limit = options.body_limit
    chunks = bytearray()
    try:
        async for chunk in request.stream():
            chunks += chunk
            if len(chunks) > limit:
                raise BodyTooLarge(f"the body has more than {limit} bytes")
    except ClientDisconnect as error:
        raise ClientDisconnected from error
    return bytes(chunks)


async def read_json_bytes(request: Request) -> bytes:
    """Return the whole body of a request that declares it as JSON.

    A page of another site can send a body of any other type without asking the server before.

    Raises:
        UnsupportedMediaType: The Content-Type is missing or another one.
        TooLarge: The body exceeds the limit.
        ClientGone: The client disconnected.
    """
    raw = await read_body(request)
    content_type = request.headers.get("content-type", "")
    if raw and _is_json(content_type.partition(";")[0].strip()) is None:
        given = f"is {shown_value(content_type)}" if content_type else "is missing"
        raise UnsupportedMediaType(f"the Content-Type {given}, must be application/json")
    return raw


async def read_lines(request: Request) -> tuple[bytes, list[bytes]]:
    """Return the body of a request that declares it as JSON lines, whole and as lines.

    Raises:
        UnsupportedMediaType: The Content-Type is missing or another one.
        TooLarge: The body exceeds the limit.
        ClientGone: The client disconnected.
        InvalidInput: The body is empty (400).
    """
    raw = await read_body(request)
    if not raw.strip():
        raise InvalidInput(400, MESSAGE_OF_LINES, "the body is empty, must be JSON lines")
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type not in LINES_TYPES:
        given = f"is {shown_value(content_type)}" if content_type else "is missing"
        raise UnsupportedMediaType(f"the Content-Type {given}, must be {LINES_TYPES[0]}")
    return raw, [line + b"\n" for line in raw.split(b"\n")]


def parse_json(raw: bytes, message: str) -> Any:
    """Return the value of JSON text (RFC 8259) that PostgreSQL can store.

    Raises:
        InvalidInput: 400 with ``message`` and the reason.
    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(400, message, f"the body is not UTF-8 at byte {error.start}") from error
    if not text.strip(" \t\r\n"):
        raise InvalidInput(400, message, "the body is empty, must be JSON")
    try:
        value = _decoder.decode(text)
        _check_nesting_and_texts(value, "\\u" in text)
    except RecursionError:
        raise InvalidInput(400, message, "the body is nested too deeply") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        detail = f"the body is not JSON: {error.msg} at {where}"
        raise InvalidInput(400, message, detail) from error
    except NotJson as error:
        raise InvalidInput(400, message, f"the body is not JSON: {error}") from error
    except ValueError as error:
        raise InvalidInput(400, message, "an integer in the body has too many digits") from error
    return value


def _check_nesting_and_texts(value: Any, has_escapes: bool) -> None:
    """Check the nesting, and with escapes in the text also the characters they stand for."""
    level: list[Any] = [value]
    for _ in range(MAX_NESTING):
        below: list[Any] = []
        for inner in level:
            if isinstance(inner, dict):
                below.extend(inner.values())
                if has_escapes:
                    below.extend(inner)
            elif isinstance(inner, list):
                below.extend(inner)
            elif has_escapes and isinstance(inner, str):
                _require_storable_text(inner)
        if not below:
            return
        level = below
    raise NotJson(f"it is nested more than {MAX_NESTING} deep")


def _require_storable_text(text: str) -> None:
    if "\0" in text:
        raise NotJson("a text has the character U+0000 in it")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise NotJson("a text has a lone surrogate in it") from None


def parse_ref(text: str) -> int | UUID:
    """Return a campaign's id or uuid. Raises NotFound for all other texts."""
    if _is_uuid(text):
        return UUID(text)
    if _is_id(text) and int(text) <= _BIGINT:
        return int(text)
    raise NotFound(f"{shown_value(text)} is neither an id nor a uuid")


def parse_run_id(text: str) -> UUID:
    """Return a run's id. Raises NotFound for all other texts, and 405 for calls on many runs."""
    if text in ("release", "drop"):
        raise HTTPException(405)
    if _is_uuid(text):
        return UUID(text)
    raise NotFound(f"{shown_value(text)} is not a uuid", message="Run not found")


def read_idempotency_key(request: Request, *, required: bool = False) -> str | None:
    """Return the Idempotency-Key, or None without one. Raises InvalidInput (400)."""
    given = request.headers.get("idempotency-key")
    if given is None:
        if required:
            raise InvalidInput(
                400, "Idempotency-Key required", "send an Idempotency-Key header with this request"
            )
        return None
    if _is_idempotency_key(given) is None:
        detail = "an Idempotency-Key has 1 to 255 printable ASCII characters"
        raise InvalidInput(400, "Invalid Idempotency-Key", detail)
    return given


def etag_of(revision: int | None) -> str:
    """Return the entity tag of a schedule or a campaign; ``"0"`` stands for no schedule."""
    return f'"{revision or 0}"'


def if_match_condition(request: Request) -> Callable[[int | None], bool] | None:
    """Return the If-Match condition on a revision. Raises InvalidInput (400)."""
    given = request.headers.get("if-match")
    if given is None:
        return None
    if given.strip() == "*":
        return lambda revision: revision is not None
    tags = [tag.strip() for tag in given.split(",")]
    if not all(_is_etag(tag) for tag in tags):
        detail = 'If-Match is * or an ETag as it was read, such as "17"'
        raise InvalidInput(400, "Invalid If-Match", detail)
    return lambda revision: etag_of(revision) in tags


def extend_deadline(request: Request) -> None:
    """Let a response that is being sent take another `api.request_timeout` from now."""
    deadline: asyncio.Timeout = request.scope["state"]["deadline"]
    options: ApiOptions = request.app.state.options
    deadline.reschedule(asyncio.get_running_loop().time() + options.request_timeout)


def api_key_of(request: Request) -> ApiKey:
    """Return the API key that the middleware has authenticated."""
    key = request.scope["state"]["key"]
    assert isinstance(key, ApiKey)
    return key


def actor_of(request: Request) -> str:
    """Return the actor of the request, for `campaign_events`."""
    return f"api:{api_key_of(request).name}"


def refusal_log_of(request: Request) -> RefusalLog:
    """Return the recorder of refused requests."""
    refusals = request.app.state.refusals
    assert isinstance(refusals, RefusalLog)
    return refusals


def wants_representation(request: Request) -> bool:
    """Return whether the client prefers the result of an update over mere success (RFC 7240)."""
    return any(
        part.partition(";")[0].replace(" ", "").lower() in _RETURNS
        for header in request.headers.getlist("prefer")
        for part in header.split(",")
    )
