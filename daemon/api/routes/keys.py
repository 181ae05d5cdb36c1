"""API keys, for keys of the scope admin."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request
from pydantic import WithJsonSchema
from starlette.responses import JSONResponse, Response

from daemon.api.auth import needs
from daemon.api.idempotency import backend_of
from daemon.api.openapi import answers, body
from daemon.api.request_models import NEW_KEY
from daemon.api.requests import key_of, parse_json, read_body
from daemon.api.response_models import KeyCreated, KeyItem, KeyPage
from daemon.api.responses import key_item
from daemon.api.routes.campaigns import body_limit
from daemon.domain.api_keys import Scope
from daemon.domain.errors import Conflict, NotFound
from daemon.domain.requests.fields import shown

router = APIRouter(tags=["Keys"], dependencies=[Depends(needs(Scope.ADMIN))])

MESSAGE = "Invalid key values"
KeyId = Annotated[
    str,
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": 10**18 - 1}),
    Path(description="The key's id."),
]


@router.post(
    "/keys",
    summary="Create an API key",
    status_code=201,
    responses=answers(KeyCreated, 409, status=201),
    openapi_extra=body(NEW_KEY, examples={"a reader": {"name": "dashboard", "scope": "read"}}),
)
async def create_key(request: Request) -> Response:
    """A new key. Its secret is in this answer and nowhere else."""
    value = parse_json(await read_body(request, body_limit(request)), MESSAGE)
    wanted = NEW_KEY.parse(value, MESSAGE)
    key, secret = await backend_of(request).keys.create(wanted.name, wanted.scope)
    return JSONResponse({**key_item(key), "key": secret}, 201)


@router.get("/keys", summary="List API keys", responses=answers(KeyPage))
async def list_keys(request: Request) -> Response:
    """Every key there ever was, without secrets; a revoked one has `revoked_at`."""
    keys = await backend_of(request).keys.list()
    return JSONResponse({"items": [key_item(key) for key in keys], "next_cursor": None})


@router.delete("/keys/{key_id}", summary="Revoke an API key", responses=answers(KeyItem, 404, 409))
async def revoke_key(request: Request, key_id: KeyId) -> Response:
    """Ends a key, from the next request on. It stays listed. No key ends itself."""
    if not (key_id.isascii() and key_id.isdigit() and len(key_id) < 19):
        raise NotFound(f"{shown(key_id)} is no id", message="Key not found")
    if int(key_id) == key_of(request).id:
        # Or the last administrator would be locked out by a slip.
        raise Conflict("a key can not revoke itself; use another one, or campaignd keys revoke")
    return JSONResponse(key_item(await backend_of(request).keys.revoke_id(int(key_id))))
