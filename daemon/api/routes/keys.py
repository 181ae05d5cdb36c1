"""API keys; every call needs the scope admin."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Request
from pydantic import WithJsonSchema
from starlette.responses import JSONResponse, Response

from daemon.api.auth import ADMIN
from daemon.api.openapi import request_body, route_responses
from daemon.api.pagination import whole_list_response
from daemon.api.request_models import NEW_KEY, ROTATE_REQUEST
from daemon.api.requests import api_key_of, backend_of, parse_json, read_json_bytes
from daemon.api.response_models import KeyCreated, KeyItem, KeyPage
from daemon.api.responses import key_item
from daemon.domain.api_keys import INVALID_VALUES
from daemon.domain.errors import Conflict, NotFound
from daemon.domain.requests.fields import shown_value

router = APIRouter(tags=["Keys"], dependencies=ADMIN)

KeyId = Annotated[
    str,
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": 10**18 - 1}),
    Path(description="The key's id."),
]


@router.post(
    "/keys",
    name="key_create",
    summary="Create an API key",
    status_code=201,
    responses=route_responses(KeyCreated, 409, status=201),
    openapi_extra=request_body(
        NEW_KEY,
        examples={
            "a reader": {"name": "dashboard", "scope": "read"},
            "for a year": {
                "name": "sender",
                "scope": "worker",
                "expires_at": "2032-01-01T00:00:00Z",
            },
        },
    ),
)
async def create_key(request: Request) -> Response:
    """Creates a key. Only this response contains the secret."""
    value = parse_json(await read_json_bytes(request), INVALID_VALUES)
    requested = NEW_KEY.read_whole_body(value, INVALID_VALUES)
    key, secret = await backend_of(request).keys.create(
        requested.name, requested.scope, requested.expires_at
    )
    return JSONResponse({**key_item(key), "key": secret}, 201)


@router.get("/keys", name="key_list", summary="List API keys", responses=route_responses(KeyPage))
async def list_keys(request: Request) -> Response:
    """Returns all keys without their secrets, also revoked and expired ones."""
    keys = await backend_of(request).keys.list()
    return whole_list_response([key_item(key) for key in keys])


@router.post(
    "/keys/{key_id}/rotate",
    name="key_rotate",
    summary="Rotate an API key",
    responses=route_responses(KeyCreated, 404),
    openapi_extra=request_body(
        ROTATE_REQUEST, examples={"within a day": {"overlap_seconds": 86_400}}, required=False
    ),
)
async def rotate_key(request: Request, key_id: KeyId) -> Response:
    """Gives a key a new secret, which only this response contains.

    Id, name and scope stay. The previous secret works until the overlap ends, or the key as it was
    would have expired. A secret before that one ends at once.
    """
    raw = await read_json_bytes(request)
    value = parse_json(raw, INVALID_VALUES) if raw else {}
    requested = ROTATE_REQUEST.read_whole_body(value, INVALID_VALUES)
    key, secret = await backend_of(request).keys.rotate(
        _parse_key_id(key_id), timedelta(seconds=requested.overlap_seconds), requested.expires_at
    )
    return JSONResponse({**key_item(key), "key": secret})


@router.delete(
    "/keys/{key_id}",
    name="key_revoke",
    summary="Revoke an API key",
    responses=route_responses(KeyItem, 404, 409),
)
async def revoke_key(request: Request, key_id: KeyId) -> Response:
    """Revokes a key from the next request on. The key stays listed. A key cannot revoke itself."""
    number = _parse_key_id(key_id)
    if number == api_key_of(request).id:
        # Otherwise a mistake could revoke the last admin key.
        raise Conflict("a key cannot revoke itself; use another key, or campaignd keys revoke")
    return JSONResponse(key_item(await backend_of(request).keys.revoke(number)))


def _parse_key_id(key_id: str) -> int:
    """Return a key's id. Raises NotFound for all other texts."""
    if key_id.isascii() and key_id.isdigit() and len(key_id) < 19:
        return int(key_id)
    raise NotFound(f"{shown_value(key_id)} is not a key id", message="Key not found")
