"""Operational endpoints outside /api/v1, without a key: health, metrics, documentation."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from daemon.api.errors import RETRY_AFTER_S
from daemon.api.requests import backend_of
from daemon.api.response_models import Health

router = APIRouter()

_READINESS_TIMEOUT_S = 2.0
_START = "SwaggerUIBundle({url: 'openapi.json', dom_id: '#ui', deepLinking: true});"
_PAGE = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>campaignd</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script>{_START}</script>
</body>
</html>
"""
_HASH = base64.b64encode(hashlib.sha256(_START.encode()).digest()).decode()
_POLICY = (
    "default-src 'none'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; "
    f"style-src 'self' 'unsafe-inline'; script-src 'self' 'sha256-{_HASH}'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_ASSETS = {"swagger-ui.css": "text/css", "swagger-ui-bundle.js": "text/javascript"}


@router.get(
    "/healthz",
    name="health_check",
    tags=["Operation"],
    summary="Check that the process answers",
    responses={200: {"model": Health, "description": "The process answers"}},
)
async def healthz() -> Response:
    """Returns 200 as long as this process answers."""
    return JSONResponse({"status": "ok"})


@router.get(
    "/readyz",
    name="readiness_check",
    tags=["Operation"],
    summary="Check that the node is ready",
    responses={
        200: {"model": Health, "description": "Every check passed"},
        503: {"model": Health, "description": "A check failed"},
    },
)
async def readyz(request: Request) -> Response:
    """Checks the database and the daemon's event loop."""
    try:
        checks = await asyncio.wait_for(backend_of(request).readiness(), _READINESS_TIMEOUT_S)
    except TimeoutError:
        checks = {"database": f"no reply within {_READINESS_TIMEOUT_S:g} s"}
    frozen = checks.pop("frozen", None)
    if all(result == "ok" for result in checks.values()):
        body: dict[str, Any] = {"status": "ok", "checks": checks}
        return JSONResponse(body if frozen is None else {**body, "frozen": frozen})
    headers = {"Retry-After": str(RETRY_AFTER_S)}
    return JSONResponse({"status": "unavailable", "checks": checks}, 503, headers)


@router.get(
    "/metrics",
    name="metrics_read",
    tags=["Operation"],
    summary="Read the metrics",
    response_class=Response,
    responses={
        200: {"description": "The metrics in Prometheus text format", "content": {"text/plain": {}}}
    },
)
async def metrics(request: Request) -> Response:
    """Returns the metrics of this process for Prometheus."""
    content, media_type = await backend_of(request).metrics()
    return Response(content, headers={"Content-Type": media_type})


@router.get("/docs", include_in_schema=False)
async def docs() -> Response:
    """Return Swagger UI for the OpenAPI document; all of its files come from this process."""
    return HTMLResponse(_PAGE, headers={"Content-Security-Policy": _POLICY})


@router.get("/docs/{name}", include_in_schema=False)
async def swagger_file(name: str) -> Response:
    """Return a file of Swagger UI."""
    if name not in _ASSETS:
        return JSONResponse({"message": "Not found", "detail": "the path does not exist"}, 404)
    headers = {"Cache-Control": "public, max-age=86400", "Content-Type": _ASSETS[name]}
    return Response(await asyncio.to_thread(_read_swagger_file, name), headers=headers)


@cache
def _read_swagger_file(name: str) -> bytes:
    return files("fastapi_offline").joinpath("static", name).read_bytes()
