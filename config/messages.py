"""Error messages: one line for each problem, with name, value, place and allowed values."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from config.dsn import redacted_dsn
from config.names import ANY, FIELDS, env_name, field_key, is_secret, is_setting
from config.settings import ALLOWED_NAME
from config.target_settings import TARGET_TYPES
from config.values import Allowed

Name = tuple[str, ...]

_LONGEST_SHOWN = 80
_WITH_REASON = ("value_error", "pattern", "not_a_number")
"""Error types whose own text adds a reason to the allowed values."""


def problem_lines(error: ValidationError, places: Mapping[Name, str]) -> list[str]:
    """Return the lines for the errors that pydantic found."""
    return [_format_error(found, places) for found in error.errors(include_url=False)]


def _format_error(found: ErrorDetails, places: Mapping[Name, str]) -> str:
    name = _setting_name(found)
    dotted = ".".join(name)
    place = _place_of(name, places)
    if found["type"] == "extra_forbidden" and is_setting(name):
        return f"{dotted} ({place}): not a setting of this type of target"
    if found["type"] == "extra_forbidden":
        return unknown_setting(name, place)
    if found["type"] == "union_tag_not_found":
        return f"{dotted}.type ({place}): missing; allowed is {_allowed_values((*name, 'type'))}"
    if found["type"] == "union_tag_invalid":
        name = (*name, "type")
        shown = found.get("ctx", {}).get("tag", "")
        place = _place_of(name, places)
        return f"{dotted}.type = {shown!r} ({place}): allowed is {_allowed_values(name)}"
    if found["type"] == "missing":
        return f"{dotted} ({place}): missing; allowed is {_allowed_values(name)}"
    context = found.get("ctx", {})
    if found["type"] == "clash":
        value = getattr(found["input"], name[-1], None)
        if isinstance(found["input"], dict):
            value = found["input"].get(name[-1])
        return f"{dotted} = {value} ({place}): allowed is {context['allowed']}"
    if name[0] == "targets" and found["loc"][-1] == "[key]":
        return f"{dotted} ({place}): allowed in a target's name are {ALLOWED_NAME}"
    allowed = f"allowed is {_allowed_values(name)}"
    if found["type"] in _WITH_REASON:
        allowed = found["msg"].removeprefix("Value error, ") + "; " + allowed
    return f"{dotted} = {_shown_value(name, found['input'])} ({place}): {allowed}"


def unknown_setting(name: Name, place: str, *, in_environment: bool = False) -> str:
    """Return the line for an unknown setting, with a suggestion."""
    shown = place if in_environment else f"{'.'.join(name)} ({place})"
    likely = _likely_setting(name)
    if likely is None:
        return f"{shown}: unknown setting"
    right = env_name(likely) if in_environment else ".".join(likely)
    return f"{shown}: unknown setting, did you mean {right}?"


def _likely_setting(name: Name) -> Name | None:
    """Return the likely setting: wrongly separated, misspelt, or in the wrong table."""
    known = [
        tuple(name[1] if part == ANY else part for part in candidate)
        for candidate in FIELDS
        if ANY not in candidate or (len(name) > 1 and name[0] == "targets")
    ]
    for candidate in known:
        if "_".join(candidate) == "_".join(name):
            return candidate
    beside = {candidate[-1]: candidate for candidate in known if candidate[:-1] == name[:-1]}
    elsewhere = {candidate[-1]: candidate for candidate in known if candidate[0] != "targets"}
    for choice, cutoff in ((beside, 0.6), (elsewhere, 0.75)):
        if close := difflib.get_close_matches(name[-1], choice, n=1, cutoff=cutoff):
            return choice[close[0]]
    return None


def _setting_name(found: ErrorDetails) -> Name:
    name = tuple(str(part) for part in found["loc"] if part != "[key]")
    # pydantic puts the tag of a union between the target's name and its field.
    if len(name) > 2 and name[0] == "targets" and name[2] in TARGET_TYPES:
        name = (*name[:2], *name[3:])
    field = found.get("ctx", {}).get("field")
    return (*name, str(field)) if found["type"] == "clash" else name


def _place_of(name: Name, places: Mapping[Name, str]) -> str:
    if name in places:
        return places[name]
    around = [place for known, place in places.items() if known[: len(name)] == name]
    if around:
        return around[0]
    beside = [place for known, place in places.items() if known[: len(name) - 1] == name[:-1]]
    return beside[0] if beside and len(name) > 1 else "default"


def _allowed_values(name: Name) -> str:
    if name[0] == "targets" and name[2:] == ("type",):
        return "one of " + ", ".join(TARGET_TYPES)
    info = FIELDS.get(field_key(name))
    texts = [item.text for item in info.metadata if isinstance(item, Allowed)] if info else []
    return texts[-1] if texts else "a table"


def _shown_value(name: Name, value: Any) -> str:
    if name[0] == "targets" and is_secret(name[:3]):  # also for values inside the setting
        return "***"
    if is_secret(name):
        return repr(redacted_dsn(value)) if isinstance(value, str) else "***"
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "…"
