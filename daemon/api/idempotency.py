"""Changing something once: with an Idempotency-Key, change and answer are one transaction."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from daemon.api.ports import Backend
from daemon.api.requests import idempotency_key, key_of
from daemon.api.responses import Answer, replay
from daemon.campaign_service import CampaignService


def backend_of(request: Request) -> Backend:
    """What the application was built with."""
    backend = request.app.state.backend
    assert isinstance(backend, Backend)
    return backend


async def run_idempotently(
    request: Request,
    act: Callable[[CampaignService], Awaitable[Answer]],
    raw: bytes = b"",
    *,
    key_required: bool = False,
) -> Response:
    """Do what is asked and answer; what was done before for this Idempotency-Key is only answered.

    A refusal changes nothing and is not kept: the same request may succeed later.
    """
    backend = backend_of(request)
    key = idempotency_key(request, required=key_required)
    if key is None:
        return (await act(backend.control)).response()
    fingerprint = hashlib.sha256(
        b"\0".join([request.method.encode(), request.url.path.encode(), raw])
    ).digest()
    async with backend.receipts.once(key_of(request).id, key, fingerprint) as attempt:
        if attempt.answer is None:
            answer = await act(attempt.commands)
            await attempt.keep(answer.to_keep())
            response = answer.response()
        else:
            response = replay(attempt.answer)
    attempt.commands.emit_pending()
    return response
