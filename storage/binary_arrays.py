"""Arrays as the hot statements bind them: encoded here, a batch at a time.

A driver that looks at every element of every array costs more than the statement itself. What is
made here is PostgreSQL's binary form of a one-dimensional array (its source, ``array_recv``), and
psycopg passes it on as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from struct import Struct
from uuid import UUID

import psycopg
from psycopg.abc import AdaptContext
from psycopg.adapt import Dumper
from psycopg.pq import Format

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_LOCAL_EPOCH = datetime(2000, 1, 1)  # noqa: DTZ001 - wall time has no zone
_HEAD = Struct(">iiiii")
_NULL = b"\xff\xff\xff\xff"
_INT8 = Struct(">iq")
_FLOAT8 = Struct(">id")


class _Array(bytes):
    """A one-dimensional array, encoded."""


class _Dumper(Dumper):
    format = Format.BINARY
    array_oid: int

    def __init__(self, cls: type, context: AdaptContext | None = None) -> None:
        super().__init__(cls, context)
        # Not of the class: psycopg would take it for the way to write every list of that type.
        self.oid = self.array_oid

    def dump(self, obj: bytes) -> bytes:
        return obj


_DUMPERS: dict[type[_Array], type[_Dumper]] = {}


def _type(name: str, oid: int) -> type[_Array]:
    array = type(name, (_Array,), {})
    _DUMPERS[array] = type(f"{name}Dumper", (_Dumper,), {"array_oid": oid})
    return array


_Bigints = _type("Bigints", 1016)
_Smallints = _type("Smallints", 1005)
_Integers = _type("Integers", 1007)
_Booleans = _type("Booleans", 1000)
_Floats = _type("Floats", 1022)
_Texts = _type("Texts", 1009)
_Uuids = _type("Uuids", 2951)
_Instants = _type("Instants", 1185)
_WallTimes = _type("WallTimes", 1115)


def register(connection: psycopg.AsyncConnection[object]) -> None:
    """Have a connection pass on what is encoded here."""
    for array, dumper in _DUMPERS.items():
        connection.adapters.register_dumper(array, dumper)


@lru_cache(maxsize=64)
def _struct(element: str, count: int) -> Struct:
    return Struct(">" + element * count)


def _whole(
    array: type[_Array], oid: int, element: str, size: int, values: Sequence[object]
) -> bytes:
    """Elements of one size, none of them null."""
    if not values:
        return array(_HEAD.pack(0, 0, oid, 0, 1)[:12])
    flat: list[object] = [size] * (2 * len(values))
    flat[1::2] = values
    return array(
        _HEAD.pack(1, 0, oid, len(values), 1) + _struct("i" + element, len(values)).pack(*flat)
    )


def _parts(array: type[_Array], oid: int, parts: Sequence[bytes]) -> bytes:
    """Elements that bring their own length; some may be null."""
    if not parts:
        return array(_HEAD.pack(0, 0, oid, 0, 1)[:12])
    has_null = 1 if _NULL in parts else 0
    return array(_HEAD.pack(1, has_null, oid, len(parts), 1) + b"".join(parts))


def bigints(values: Sequence[int]) -> bytes:
    """``bigint[]``."""
    return _whole(_Bigints, 20, "q", 8, values)


def smallints(values: Sequence[int]) -> bytes:
    """``smallint[]``."""
    return _whole(_Smallints, 21, "h", 2, values)


def integers(values: Sequence[int]) -> bytes:
    """``integer[]``."""
    return _whole(_Integers, 23, "i", 4, values)


def booleans(values: Sequence[bool]) -> bytes:
    """``boolean[]``."""
    return _whole(_Booleans, 16, "?", 1, values)


def floats(values: Iterable[float | None]) -> bytes:
    """``float8[]``; elements may be null."""
    pack = _FLOAT8.pack
    return _parts(_Floats, 701, [_NULL if value is None else pack(8, value) for value in values])


def texts(values: Iterable[str | None]) -> bytes:
    """``text[]``; elements may be null."""
    known: dict[str | None, bytes] = {None: _NULL}
    parts = []
    for value in values:
        part = known.get(value)
        if part is None:
            assert value is not None
            encoded = value.encode()
            part = known[value] = len(encoded).to_bytes(4, "big") + encoded
        parts.append(part)
    return _parts(_Texts, 25, parts)


def uuids(values: Iterable[UUID | None]) -> bytes:
    """``uuid[]``; elements may be null."""
    return _parts(
        _Uuids,
        2950,
        [_NULL if value is None else b"\0\0\0\x10" + value.bytes for value in values],
    )


def instants(values: Iterable[datetime | None]) -> bytes:
    """``timestamptz[]`` of aware instants; elements may be null."""
    return _parts(_Instants, 1184, _moments(values, _EPOCH))


def wall_times(values: Iterable[datetime | None]) -> bytes:
    """``timestamp[]`` of naive wall times; elements may be null."""
    return _parts(_WallTimes, 1114, _moments(values, _LOCAL_EPOCH))


def _moments(values: Iterable[datetime | None], epoch: datetime) -> list[bytes]:
    """Microseconds since 2000; in a burst most are the same instant."""
    known: dict[datetime | None, bytes] = {None: _NULL}
    parts = []
    for value in values:
        part = known.get(value)
        if part is None:
            assert value is not None
            since = value - epoch
            micros = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
            part = known[value] = _INT8.pack(8, micros)
        parts.append(part)
    return parts
