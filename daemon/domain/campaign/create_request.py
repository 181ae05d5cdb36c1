"""A campaign as somebody asks for it (semantics section 1)."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any
from uuid import UUID, uuid4

from daemon.domain.campaign.model import NAME_LIMIT, PAYLOAD_LIMIT, Campaign
from daemon.domain.campaign.state_machine import Status
from daemon.domain.requests.fields import (
    BLANK,
    Faults,
    invalid,
    read_choice,
    read_object,
    read_zone,
    shown,
)
from daemon.domain.schedule.schedule import CampaignType

MESSAGE = "Invalid campaign values"
FIELDS = frozenset({"name", "type", "uuid", "timezone", "target", "payload"})
_TYPES = {kind.value: kind for kind in CampaignType}
_UUID = r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
_is_uuid = re.compile(_UUID).fullmatch


def read_campaign(body: object, targets: Collection[str]) -> Campaign:
    """The draft that a body asks for; its id is none yet. `targets` are the names there are.

    Raises:
        InvalidInput: 400, with all that is wrong.
    """
    if not isinstance(body, dict):
        raise invalid(400, MESSAGE, {"body": [f"is {shown(body)}, must be an object"]})
    faults = Faults()
    faults.unknown(body, FIELDS)
    name = _read_name(faults, body.get("name"))
    kind = read_choice(faults, "type", body.get("type"), _TYPES)
    uuid = _read_uuid(faults, body.get("uuid"))
    timezone = read_zone(faults, "timezone", body.get("timezone"))
    target = read_choice(faults, "target", body.get("target"), sorted(targets))
    payload = _read_payload(faults, body.get("payload"))
    if faults:
        raise faults.error(MESSAGE)
    return Campaign(
        id=0,
        uuid=uuid or uuid4(),
        name=name,
        type=_TYPES[kind] if kind else CampaignType.ONE_TIME,
        status=Status.DRAFT,
        timezone=timezone or "UTC",
        target=target or "log",
        payload=payload,
    )


def _read_name(faults: Faults, value: object) -> str:
    if value is None or value == "":
        faults.malformed("name", BLANK)
    elif not isinstance(value, str):
        faults.malformed("name", f"is {shown(value)}, must be text")
    elif len(value) > NAME_LIMIT:
        faults.unsupported("name", f"has {len(value)} characters, must have 1 to {NAME_LIMIT}")
    else:
        return value
    return ""


def _read_uuid(faults: Faults, value: object) -> UUID | None:
    if value is None:
        return None
    if isinstance(value, str) and _is_uuid(value):
        return UUID(value)
    faults.malformed("uuid", f"is {shown(value)}, must be a uuid")
    return None


def _read_payload(faults: Faults, value: object) -> dict[str, Any]:
    payload = read_object(faults, "payload", value) or {}
    size = len(json.dumps(payload, ensure_ascii=False).encode())
    if size > PAYLOAD_LIMIT:
        faults.unsupported("payload", f"has {size} bytes as JSON, at most {PAYLOAD_LIMIT} may be")
    return payload
