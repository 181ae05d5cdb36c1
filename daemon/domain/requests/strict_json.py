"""JSON as RFC 8259 has it: what Python's reader takes beyond that is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NoReturn

from daemon.domain.requests.fields import shown

_INFINITY = float("inf")


class NotJson(ValueError):
    """Python's reader would take it, but it is no JSON, or not one that can be kept."""


def strict_decoder(
    object_pairs_hook: Callable[[list[tuple[str, Any]]], Any] | None = None,
) -> json.JSONDecoder:
    """A decoder that raises NotJson for NaN, infinities and numbers too large for a double."""
    return json.JSONDecoder(
        parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=object_pairs_hook
    )


def _no_constant(name: str) -> NoReturn:
    raise NotJson(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if number in (_INFINITY, -_INFINITY):
        raise NotJson(f"the number {shown(text)} is too large")
    return number
