"""JSON as in RFC 8259, without the extensions of Python's decoder."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NoReturn

from daemon.domain.requests.fields import shown

_INFINITY = float("inf")


class NotJson(ValueError):
    """Text that Python's decoder accepts, but that is not JSON or cannot be stored."""


def strict_decoder(
    object_pairs_hook: Callable[[list[tuple[str, Any]]], Any] | None = None,
) -> json.JSONDecoder:
    """Return a decoder that raises NotJson for NaN, infinities and numbers beyond a double."""
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
