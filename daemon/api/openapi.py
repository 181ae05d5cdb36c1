"""The OpenAPI specification: the parts that all routes share, and the request bodies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Header, Path, Query
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, WithJsonSchema

from daemon import __version__
from daemon.api.code_samples import code_samples
from daemon.api.request_models import body_schema_names, component_schemas, schema_reference
from daemon.api.requests import LINES_TYPES
from daemon.api.response_models import Problem
from daemon.domain.requests.declaration import Body

DESCRIPTION = """\
Campaigns, their schedules and their runs.

Every call under `/api/v1` needs an API key: `Authorization: Bearer KEY`, or Basic with the key as
user name and an empty password. Every error has the same form, `{"message", "detail"}`, with
`errors` by field for an invalid body.
"""

TAGS = {
    "Campaigns": "What is sent, and to which target.",
    "Lifecycle": "The commands that move a campaign from one status to another.",
    "Schedules": "When campaigns run.",
    "Runs and history": "What ran, what did not, and why.",
    "Held runs": "Runs that wait for an operator's decision.",
    "Freezes": "Nothing begins while a freeze is in force.",
    "Runs that finish later": "Results that a target reports after it has accepted a run.",
    "Import and export": "All campaigns as JSON lines.",
    "Targets": "Where runs are sent, and whether they arrive.",
    "Cluster": "Nodes, lag and open runs.",
    "Auditor": "What contradicts the schedules now.",
    "Calendar feed": "Runs to come as iCalendar, for calendar programs.",
    "Keys": "API keys; for keys of the scope admin.",
    "Audit log": "Who changed what; for keys of the scope admin.",
    "Operation": "Health and metrics, without a key.",
}

_ANY_REF = {
    "anyOf": [
        {"type": "integer", "minimum": 1, "maximum": 2**63 - 1},
        {"type": "string", "format": "uuid"},
    ]
}
CampaignRef = Annotated[
    str, WithJsonSchema(_ANY_REF), Path(description="The campaign's id or uuid.", examples=[42])
]
RunId = Annotated[
    str,
    WithJsonSchema({"type": "string", "format": "uuid"}),
    Path(description="The run's id."),
]
Limit = Annotated[
    int, Query(ge=1, le=500, description="Maximum number of items on a page; 1 MiB ends it too.")
]
Cursor = Annotated[
    str | None,
    Query(description="The next_cursor of the page before; absent: the first page."),
]
_COUNT = {"type": "integer", "minimum": 1, "maximum": 10_000, "default": 10}
Count = Annotated[int, Query(ge=1, le=10_000, description="Maximum number of occurrences.")]
DryRunQuery = Annotated[
    Literal["true", "false"],
    Query(alias="dry_run", description="true: show what would change, and write nothing."),
]
Days = Annotated[int, Query(ge=1, le=400, description="Days from now that a dry run compares.")]
IdempotencyKey = Annotated[
    str | None,
    WithJsonSchema({"type": "string"}),
    Header(
        description="A second request with the same key within 24 hours gets the same answer and "
        "has no effect. 1 to 255 printable ASCII characters."
    ),
]
IfMatch = Annotated[
    str | None,
    WithJsonSchema({"type": "string", "pattern": r'^"[0-9]{1,18}"$'}),
    Header(description='The ETag as it was read; of a schedule, `"0"` for none.'),
]

Prefer = Annotated[
    str | None,
    WithJsonSchema({"type": "string"}),
    Header(description="`return=representation`: the answer has the fields of a saved schedule."),
]

_PROBLEMS = {
    400: "Malformed, missing or impossible values; malformed JSON; refused in this status",
    401: "No valid API key",
    403: "The key's scope is too small",
    404: "Not found",
    408: "The request came in too slowly",
    409: "A lost race: another request was first",
    412: "If-Match names another revision",
    413: "The body has more than 256 KiB",
    415: "The body is not declared as JSON",
    422: "Well-formed, but unsupported or refused in this status; a reused Idempotency-Key",
    429: "Too many requests",
    500: "An error of campaignd",
    503: "The database is unavailable, or there are too many requests at once",
}
_EVERYWHERE = (400, 401, 403, 408, 413, 429, 500, 503)
_WITH_RETRY_AFTER = (409, 429, 503)


def route_responses(
    good: type[BaseModel] | None,
    *problems: int,
    status: int = 200,
    headers: Sequence[str] = (),
    example: Any = None,
) -> dict[int | str, dict[str, Any]]:
    """Return a route's `responses`: the good one, its own problems, and those of every route."""
    responses: dict[int | str, dict[str, Any]] = {}
    if good is not None:
        responses[status] = {"model": good, "description": (good.__doc__ or "").split("\n")[0]}
        if headers:
            responses[status]["headers"] = {name: _header_object(name) for name in headers}
        if example is not None:
            responses[status]["content"] = {"application/json": {"example": example}}
    for code in sorted({*_EVERYWHERE, *problems}):
        responses[code] = {"model": Problem, "description": _PROBLEMS[code]}
        if code in _WITH_RETRY_AFTER:
            responses[code]["headers"] = {"Retry-After": _header_object("Retry-After")}
    return responses


def _header_object(name: str) -> dict[str, Any]:
    text = {
        "ETag": "The revision of what was read or changed, for If-Match.",
        "Retry-After": "Seconds after which to try again.",
        "Location": "The address of the new resource.",
    }[name]
    kind = "integer" if name == "Retry-After" else "string"
    return {"description": text, "schema": {"type": kind}}


def request_body(
    *bodies: Body[Any], examples: dict[str, Any] | None = None, required: bool = True
) -> dict[str, Any]:
    """Return a route's `openapi_extra` for a request body that is one of `bodies`."""
    refs = [schema_reference(name) for each in bodies for name in body_schema_names(each)]
    content: dict[str, Any] = {"schema": refs[0] if len(refs) == 1 else {"anyOf": refs}}
    if examples:
        content["examples"] = {name: {"value": value} for name, value in examples.items()}
    return {"requestBody": {"required": required, "content": {"application/json": content}}}


def lines_body(example: str) -> dict[str, Any]:
    """Return a route's `openapi_extra` for a request body of JSON lines."""
    return {"requestBody": {"required": True, "content": _lines_content(example)}}


def lines_responses(example: str, *problems: int) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route that answers with JSON lines."""
    good = {"description": "JSON lines", "content": _lines_content(example)}
    return {200: good, **route_responses(None, *problems)}


def _lines_content(example: str) -> dict[str, Any]:
    described = {"schema": {"type": "string"}, "examples": {"one line": {"value": example}}}
    return dict.fromkeys(LINES_TYPES, described)


def specification_builder(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """Return the application's `openapi` function, which builds the specification once."""

    def build_once() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _build_specification(app)
        return app.openapi_schema

    return build_once


def _build_specification(app: FastAPI) -> dict[str, Any]:
    spec = get_openapi(
        title="campaignd",
        version=__version__,
        description=DESCRIPTION,
        routes=app.routes,
        tags=[{"name": name, "description": text} for name, text in TAGS.items()],
    )
    components = spec.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schemas.update(component_schemas())
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "The API key."},
        "basic": {
            "type": "http",
            "scheme": "basic",
            "description": "The API key as user name, an empty password.",
        },
    }
    for path, item in spec["paths"].items():
        for method, operation in item.items():
            _correct_operation(path, operation)
            operation["x-codeSamples"] = code_samples(method, path, operation)
    return spec


def _correct_operation(path: str, operation: dict[str, Any]) -> None:
    for parameter in operation.get("parameters", ()):
        # FastAPI describes an absent parameter as null, but no client can send null.
        described = parameter["schema"].pop("anyOf", None)
        kinds = [each for each in described or () if each != {"type": "null"}]
        if len(kinds) == 1:
            parameter["schema"] |= kinds[0]
        elif described:
            parameter["schema"]["anyOf"] = kinds
    refused = operation["responses"].get("422", {})
    if "HTTPValidationError" in str(refused):  # parameters that are wrong are a 400
        del operation["responses"]["422"]
    if "requestBody" in operation:
        refusal = {**operation["responses"]["413"], "description": _PROBLEMS[415]}
        operation["responses"]["415"] = refusal
    if path.startswith("/api/"):
        operation["security"] = [{"bearer": []}, {"basic": []}]
        operation["responses"]["401"]["headers"] = {
            "WWW-Authenticate": {"schema": {"type": "string"}}
        }
