"""Idempotent changes: the change and the response stored for its Idempotency-Key are atomic."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from daemon.api.requests import api_key_of, backend_of, read_idempotency_key
from daemon.api.responses import ResponseData, replay_response
from daemon.campaign_service import CampaignService


async def run_idempotently(
    request: Request,
    act: Callable[[CampaignService], Awaitable[ResponseData]],
    raw: bytes = b"",
    *,
    key_required: bool = False,
) -> Response:
    """Run a change once for each Idempotency-Key; answer a repetition with the stored response.

    A refusal changes nothing and is not stored: the same request may succeed later.

    Args:
        act: makes the change with the given service and returns the response.
        raw: the request's body; a repetition must have the same one.
        key_required: whether a request without an Idempotency-Key is refused.
    """
    backend = backend_of(request)
    key = read_idempotency_key(request, required=key_required)
    if key is None:
        return (await act(backend.service)).to_response()
    fingerprint = hashlib.sha256(
        b"\0".join([request.method.encode(), request.url.path.encode(), raw])
    ).digest()
    async with backend.idempotency.reserve(api_key_of(request).id, key, fingerprint) as reserved:
        if reserved.response is None:
            data = await act(reserved.service)
            await reserved.store(data.to_stored_json())
            response = data.to_response()
        else:
            response = replay_response(reserved.response)
    reserved.service.emit_pending()
    return response
