"""Encodes the arrays of the hot statements, one array for each column of a batch.

A driver that checks every element of every array costs more than the statement itself. The
functions return PostgreSQL's binary format of a one-dimensional array (``array_recv`` in its
source), and psycopg sends these bytes unchanged.
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
_HEADER = Struct(">iiiii")
_NULL = b"\xff\xff\xff\xff"
_INT8 = Struct(">iq")
_FLOAT8 = Struct(">id")


class _EncodedArray(bytes):
    """An encoded one-dimensional array."""


class _EncodedArrayDumper(Dumper):
    format = Format.BINARY
    array_oid: int

    def __init__(self, cls: type, context: AdaptContext | None = None) -> None:
        super().__init__(cls, context)
        # Set on the instance: psycopg would use a class attribute for every list of that type.
        self.oid = self.array_oid

    def dump(self, obj: bytes) -> bytes:
        return obj


_DUMPERS: dict[type[_EncodedArray], type[_EncodedArrayDumper]] = {}


def _array_type(name: str, oid: int) -> type[_EncodedArray]:
    array = type(name, (_EncodedArray,), {})
    _DUMPERS[array] = type(f"{name}Dumper", (_EncodedArrayDumper,), {"array_oid": oid})
    return array


_Bigints = _array_type("Bigints", 1016)
_Smallints = _array_type("Smallints", 1005)
_Integers = _array_type("Integers", 1007)
_Booleans = _array_type("Booleans", 1000)
_Floats = _array_type("Floats", 1022)
_Texts = _array_type("Texts", 1009)
_Uuids = _array_type("Uuids", 2951)
_Instants = _array_type("Instants", 1185)
_WallTimes = _array_type("WallTimes", 1115)


def register(connection: psycopg.AsyncConnection[object]) -> None:
    """Have a connection send encoded arrays unchanged."""
    for array, dumper in _DUMPERS.items():
        connection.adapters.register_dumper(array, dumper)


@lru_cache(maxsize=64)
def _struct_of(element: str, count: int) -> Struct:
    return Struct(">" + element * count)


def _fixed_size_array(
    array: type[_EncodedArray], oid: int, element: str, size: int, values: Sequence[object]
) -> bytes:
    """Encode elements of one size, none of them null."""
    if not values:
        return array(_HEADER.pack(0, 0, oid, 0, 1)[:12])
    flat: list[object] = [size] * (2 * len(values))
    flat[1::2] = values
    return array(
        _HEADER.pack(1, 0, oid, len(values), 1) + _struct_of("i" + element, len(values)).pack(*flat)
    )


def _variable_size_array(array: type[_EncodedArray], oid: int, parts: Sequence[bytes]) -> bytes:
    """Join elements that are encoded with their lengths; some may be null."""
    if not parts:
        return array(_HEADER.pack(0, 0, oid, 0, 1)[:12])
    has_null = 1 if _NULL in parts else 0
    return array(_HEADER.pack(1, has_null, oid, len(parts), 1) + b"".join(parts))


def bigints(values: Sequence[int]) -> bytes:
    """Encode a ``bigint[]``."""
    return _fixed_size_array(_Bigints, 20, "q", 8, values)


def smallints(values: Sequence[int]) -> bytes:
    """Encode a ``smallint[]``."""
    return _fixed_size_array(_Smallints, 21, "h", 2, values)


def integers(values: Sequence[int]) -> bytes:
    """Encode a ``integer[]``."""
    return _fixed_size_array(_Integers, 23, "i", 4, values)


def booleans(values: Sequence[bool]) -> bytes:
    """Encode a ``boolean[]``."""
    return _fixed_size_array(_Booleans, 16, "?", 1, values)


def floats(values: Iterable[float | None]) -> bytes:
    """Encode a ``float8[]``; elements may be null."""
    pack = _FLOAT8.pack
    return _variable_size_array(
        _Floats, 701, [_NULL if value is None else pack(8, value) for value in values]
    )


def texts(values: Iterable[str | None]) -> bytes:
    """Encode a ``text[]``; elements may be null."""
    encoded: dict[str | None, bytes] = {None: _NULL}
    parts = []
    for value in values:
        part = encoded.get(value)
        if part is None:
            assert value is not None
            utf8 = value.encode()
            part = encoded[value] = len(utf8).to_bytes(4, "big") + utf8
        parts.append(part)
    return _variable_size_array(_Texts, 25, parts)


def uuids(values: Iterable[UUID | None]) -> bytes:
    """Encode a ``uuid[]``; elements may be null."""
    return _variable_size_array(
        _Uuids,
        2950,
        [_NULL if value is None else b"\0\0\0\x10" + value.bytes for value in values],
    )


def instants(values: Iterable[datetime | None]) -> bytes:
    """Encode aware instants as ``timestamptz[]``; elements may be null."""
    return _variable_size_array(_Instants, 1184, _encode_instants(values, _EPOCH))


def wall_times(values: Iterable[datetime | None]) -> bytes:
    """Encode naive wall times as ``timestamp[]``; elements may be null."""
    return _variable_size_array(_WallTimes, 1114, _encode_instants(values, _LOCAL_EPOCH))


def _encode_instants(values: Iterable[datetime | None], epoch: datetime) -> list[bytes]:
    """Encode microseconds since 2000. A burst repeats its instants, and equality is quick."""
    last: datetime | None = None
    part = _NULL
    parts = []
    for value in values:
        if value is not last and value != last:
            last = value
            if value is None:
                part = _NULL
            else:
                since = value - epoch
                micros = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
                part = _INT8.pack(8, micros)
        parts.append(part)
    return parts
