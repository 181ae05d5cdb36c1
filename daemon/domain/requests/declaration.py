"""Request bodies as data: each field is declared once, and read and described from that.

A named tuple whose fields are made by `declare_field` is the declaration of a body, and the type of
what is read from one. `Body` derives the reader, which collects all faults, from the declaration.
`daemon.api.request_models` derives the OpenAPI schema from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Generic, NamedTuple, TypeVar

from daemon.domain.requests.fields import (
    BLANK,
    MAX_LISTED,
    Faults,
    read_object,
    require_object,
)
from daemon.domain.requests.forms import Form, read_entries
from daemon.domain.schedule.schedule import CampaignType

T = TypeVar("T", bound=NamedTuple)
_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class DeclaredField:
    """A declared field; see `declare_field`."""

    form: Form[Any] | Body[Any] | Items[Any]
    default: Any = None
    required: bool = False
    used_by: CampaignType | None = None
    beside: bool = False
    doc: str = ""


def declare_field(
    form: Form[Any] | Body[Any] | Items[Any],
    *,
    default: object = None,
    required: bool = False,
    used_by: CampaignType | None = None,
    doc: str = "",
) -> Any:
    """Declare a field of a body, in a named tuple.

    Args:
        form: How the value is read and described.
        default: The value of an absent or null field.
        required: Whether an absent or null field is a fault.
        used_by: The only campaign type that uses the field. Campaigns of other types ignore a value
            that is not supported, but refuse a malformed one.
        doc: A description for the specification.
    """
    return DeclaredField(form, default, required, used_by, doc=doc)


def declare_fields_of(body: Body[T]) -> Any:
    """Declare that all fields of another body stand beside those of this one."""
    return DeclaredField(body, body.absent, beside=True)


class Variant(NamedTuple):
    """One kind of a body that has several kinds, distinguished by the value of its first field."""

    name: str
    doc: str
    required: tuple[str, ...] = ()
    """The fields that this kind requires beside those that all kinds require."""
    used: Mapping[str, Body[Any]] = _NOTHING
    """The fields that only this kind reads."""


class Body(Generic[T]):
    """A JSON object, as a named tuple of declared fields describes it.

    Args:
        declaration: The named tuple. Its name and docstring become those of the schema.
        variants: The kinds of this body, by the value of its first field.
        patch: Whether an absent field keeps the stored value, so that the schema has no defaults.
        used_by: As in `declare_field`, for the whole object.
        check: Notes the faults of fields together, where each by itself has none. Gets the faults,
            the path of the object and what was read.
        either: Two fields of which one is required.

    A trailing underscore, of a name that Python reserves, is not part of a field's name.
    """

    def __init__(
        self,
        declaration: type[T],
        *,
        variants: Mapping[str, Variant] = _NOTHING,
        patch: bool = False,
        used_by: CampaignType | None = None,
        check: Callable[[Faults, str, T], None] | None = None,
        either: tuple[str, ...] = (),
    ) -> None:
        self.declaration, self.variants, self.either = declaration, variants, either
        self.patch, self.used_by, self._check = patch, used_by, check
        self.fields: dict[str, DeclaredField] = {
            name.removesuffix("_"): field for name, field in declaration._field_defaults.items()
        }
        names: set[str] = set()
        plan: list[Any] = []
        for index, (name, field) in enumerate(self.fields.items()):
            form = field.form
            if isinstance(form, Body) and field.beside:
                names |= form.names
                # No object has a field called None, so that this field is always read as absent.
                plan.append((index, None, form._read_spread_fields, True))
            else:
                names.add(name)
                read = form.read_field if isinstance(form, Body) else form.read
                plan.append((index, name, read, field.required))
        self.names: frozenset[str] = frozenset(names)
        self._plan = tuple(plan)
        self.absent: T = declaration._make(field.default for field in self.fields.values())
        """The value of an object that has none of the fields."""

    def read_whole_body(self, value: object, message: str) -> T:
        """Read a whole request body.

        Raises:
            InvalidInput: 400 with `message` and all faults.
        """
        faults = Faults()
        read = self.read_fields(faults, require_object(value, message))
        if faults:
            raise faults.to_error(message)
        return read

    def read_fields(
        self,
        faults: Faults,
        value: Mapping[str, Any],
        path: str = "",
        elsewhere: Mapping[str, Faults] = _NOTHING,
    ) -> T:
        """Read an object and note its faults; with faults, the result means nothing.

        Args:
            faults: Where faults are collected.
            value: The object.
            path: What precedes each field's name in the faults.
            elsewhere: Where the faults of single fields are collected instead.
        """
        before = len(faults)
        faults.add_unknown_fields(value, self.names, path)
        values = list(self.absent)
        get = value.get
        for index, name, read, is_needed in self._plan:
            given = get(name)
            if given is not None:
                place = elsewhere.get(name, faults) if elsewhere else faults
                given = read(place, path + name, given)
                if given is not None:
                    values[index] = given
            elif is_needed:
                if name is None:
                    values[index] = read(faults, path, value)
                else:
                    faults.add_malformed(path + name, BLANK)
        if self.either and all(get(name) is None for name in self.either):
            faults.add_malformed(path + self.either[0], BLANK)
        found = self.declaration._make(values)
        if self._check is not None and len(faults) == before:
            self._check(faults, path.removesuffix("."), found)
        return found

    def read_field(self, faults: Faults, path: str, value: object) -> T | None:
        """Read this body as the value of a field; None after noting that it is no object."""
        given = read_object(faults, path, value)
        return None if given is None else self.read_fields(faults, given, path + ".")

    def _read_spread_fields(self, faults: Faults, path: str, value: Mapping[str, Any]) -> T:
        if self.names.isdisjoint(value):
            return self.absent
        known = {name: value.get(name) for name in self.fields}
        return self.read_fields(faults, known, path)


@dataclass(frozen=True, slots=True)
class Items(Generic[T]):
    """A JSON array of `least` to `most` objects; `name` is what the objects are called."""

    body: Body[T]
    name: str
    least: int
    most: int

    def read(self, faults: Faults, path: str, value: object) -> tuple[T, ...] | None:
        """Read the objects; the faults name their places, such as `open[0].start`."""
        given = read_entries(faults, path, value, self.name, self.least, self.most)
        if given is None:
            return None
        read = []
        before = len(faults)
        for place, each in given:
            read.append(self.body.read_field(faults, f"{path}[{place}]", each))
            if len(faults) - before >= MAX_LISTED:
                break
        return tuple(each for each in read if each is not None)
