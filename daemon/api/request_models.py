"""The request bodies as OpenAPI schemas, derived from the declarations that also read them.

The bodies of schedules and campaigns are declared in the domain; those that only the API has are
declared here.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple

from daemon.domain.api_keys import DEFAULT_OVERLAP, MAX_OVERLAP, NAME_LIMIT, Scope
from daemon.domain.brakes import FREEZE_REQUEST, THAW_REQUEST
from daemon.domain.campaign.command_request import COMMAND_REQUEST, PAUSE_REQUEST
from daemon.domain.campaign.copying import COPY_REQUEST
from daemon.domain.campaign.create_request import NEW_CAMPAIGN
from daemon.domain.campaign.edit_request import CAMPAIGN_PATCH
from daemon.domain.requests.declaration import Body, DeclaredField, Items, Variant, declare_field
from daemon.domain.requests.forms import (
    BOOLEAN,
    INSTANT,
    enum_form,
    integer_form,
    text_form,
    unread_form,
)
from daemon.domain.requests.save_schedule import SAVE_SCHEDULE
from daemon.domain.requests.update_schedule import UPDATE_SCHEDULE
from daemon.domain.run.held import MANY_DECIDED, ONE_DECIDED

ERROR_LIMIT = 2000
DEFAULT_HEARTBEAT_S = 60
MAX_HEARTBEAT_S = 86_400
_ATTEMPT = integer_form(1, 32_767)
_ATTEMPT_DOC = "The attempt that the target received. Every other attempt is refused."

JsonSchema = dict[str, Any]


class CompleteRequest(NamedTuple):
    """The run is done."""

    attempt: int = declare_field(_ATTEMPT, required=True, doc=_ATTEMPT_DOC)


class FailRequest(NamedTuple):
    """The attempt failed."""

    attempt: int = declare_field(_ATTEMPT, required=True, doc=_ATTEMPT_DOC)
    error: str = declare_field(
        text_form(ERROR_LIMIT), required=True, doc="The reason, for the operator."
    )
    retry: bool = declare_field(BOOLEAN, default=True, doc="Whether another attempt may succeed.")


class HeartbeatRequest(NamedTuple):
    """The attempt is still in progress."""

    attempt: int = declare_field(_ATTEMPT, required=True, doc=_ATTEMPT_DOC)
    seconds: int = declare_field(
        integer_form(1, MAX_HEARTBEAT_S),
        default=DEFAULT_HEARTBEAT_S,
        doc="Seconds from now in which no node may take the run over.",
    )


class NewKey(NamedTuple):
    """An API key to create."""

    name: str = declare_field(
        text_form(NAME_LIMIT, printable=True), required=True, doc="Printable characters."
    )
    scope: Scope = declare_field(enum_form(Scope), required=True)
    expires_at: datetime | None = declare_field(
        INSTANT, doc="Instant from which the key is refused; absent: it never expires."
    )


class RotateRequest(NamedTuple):
    """The key gets a new secret."""

    overlap_seconds: int = declare_field(
        integer_form(0, int(MAX_OVERLAP.total_seconds())),
        default=int(DEFAULT_OVERLAP.total_seconds()),
        doc="Seconds in which the previous secret works too.",
    )
    expires_at: datetime | None = declare_field(
        INSTANT, doc="New instant from which the key is refused; absent: as before."
    )


COMPLETE_REQUEST = Body(CompleteRequest)
FAIL_REQUEST = Body(FailRequest)
HEARTBEAT_REQUEST = Body(HeartbeatRequest)
NEW_KEY = Body(NewKey)
ROTATE_REQUEST = Body(RotateRequest)

_BODIES: tuple[Body[Any], ...] = (
    SAVE_SCHEDULE,
    UPDATE_SCHEDULE,
    NEW_CAMPAIGN,
    CAMPAIGN_PATCH,
    COPY_REQUEST,
    COMMAND_REQUEST,
    PAUSE_REQUEST,
    COMPLETE_REQUEST,
    FAIL_REQUEST,
    HEARTBEAT_REQUEST,
    MANY_DECIDED,
    ONE_DECIDED,
    FREEZE_REQUEST,
    THAW_REQUEST,
    NEW_KEY,
    ROTATE_REQUEST,
)


def body_schema_names(body: Body[Any]) -> list[str]:
    """Return the names of the schemas of which a request body matches one."""
    variants = [variant.name for variant in body.variants.values()]
    return variants or [body.declaration.__name__]


def schema_reference(name: str) -> JsonSchema:
    """Return a reference to a named schema of the specification."""
    return {"$ref": f"#/components/schemas/{name}"}


def component_schemas() -> dict[str, JsonSchema]:
    """Return the schemas of all request bodies by name, with those of nested objects."""
    schemas: dict[str, JsonSchema] = {}
    for body in _BODIES:
        if not body.variants:
            _add_schema(schemas, body)
        for word, variant in body.variants.items():
            fields = _fields_of_variant(body, word, variant)
            schemas[variant.name] = _object_schema(schemas, body, variant.name, variant.doc, fields)
    return schemas


def _fields_of_variant(body: Body[Any], word: str, variant: Variant) -> dict[str, DeclaredField]:
    fields = dict(body.fields)
    kind = next(iter(fields))
    fields[kind] = replace(fields[kind], form=unread_form({"type": "string", "const": word}))
    for name, nested in variant.used.items():
        fields[name] = replace(fields[name], form=nested, doc="")
    for name in variant.required:
        fields[name] = replace(fields[name], required=True)
    return fields


def _add_schema(schemas: dict[str, JsonSchema], body: Body[Any]) -> JsonSchema:
    name = body.declaration.__name__
    if name not in schemas:
        doc = inspect.getdoc(body.declaration) or ""
        schemas[name] = _object_schema(schemas, body, name, doc, body.fields)
    return schema_reference(name)


def _object_schema(
    schemas: dict[str, JsonSchema],
    body: Body[Any],
    name: str,
    doc: str,
    fields: Mapping[str, DeclaredField],
) -> JsonSchema:
    schema: JsonSchema = {
        "title": name,
        "description": doc,
        "type": "object",
        "properties": _property_schemas(schemas, body, fields),
        "required": [name for name, field in fields.items() if field.required],
        "additionalProperties": False,
    }
    if body.either:
        schema["anyOf"] = [
            {"required": [each], "properties": {each: {"not": {"type": "null"}}}}
            for each in body.either
        ]
    return schema


def _property_schemas(
    schemas: dict[str, JsonSchema], body: Body[Any], fields: Mapping[str, DeclaredField]
) -> dict[str, JsonSchema]:
    properties: dict[str, JsonSchema] = {}
    for name, field in fields.items():
        if field.beside and isinstance(field.form, Body):
            properties |= _property_schemas(schemas, field.form, field.form.fields)
            continue
        kinds = _value_schemas(schemas, field, ignores_values=bool(field.used_by or body.used_by))
        if not field.required and kinds != [{}]:
            kinds.append({"type": "null"})
        schema: JsonSchema = {"anyOf": kinds} if len(kinds) > 1 else dict(kinds[0])
        properties[name] = schema
        if field.doc:
            schema["description"] = field.doc
        if not field.required and not body.patch and field.default not in (None, ()):
            schema["default"] = field.default
    return properties


def _value_schemas(
    schemas: dict[str, JsonSchema], field: DeclaredField, *, ignores_values: bool
) -> list[JsonSchema]:
    """Return the schemas of which a value other than null matches one."""
    if isinstance(field.form, Body):
        return [_add_schema(schemas, field.form)]
    if isinstance(field.form, Items):
        items = field.form
        bounds = {"minItems": items.least, "maxItems": items.most}
        return [{"type": "array", "items": _add_schema(schemas, items.body), **bounds}]
    if ignores_values and field.form.well_formed is not None:
        return [field.form.schema, field.form.well_formed]
    return [field.form.schema]
