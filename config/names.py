"""The names of all settings, derived from the models."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from config.settings import Settings
from config.target_settings import TARGET_MODELS
from config.values import SECRET

ENV_PREFIX = "CAMPAIGND_"

Name = tuple[str, ...]

ANY = "NAME"
"""Stands for a target's name."""


def _fields_of(model: type[BaseModel], above: Name = ()) -> Iterator[tuple[Name, FieldInfo]]:
    for key, info in model.model_fields.items():
        name = (*above, key)
        if name == ("targets",):
            for target in TARGET_MODELS:
                yield from _fields_of(target, (*name, ANY))
        elif isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from _fields_of(info.annotation, name)
        else:
            yield name, info


FIELDS: dict[Name, FieldInfo] = dict(_fields_of(Settings))
"""Every setting by name; a target's settings have `ANY` for the target's name."""

SECRETS: tuple[Name, ...] = tuple(
    name for name, info in FIELDS.items() if any(item is SECRET for item in info.metadata)
)


def field_key(name: Name) -> Name:
    """Return the key of a setting in `FIELDS`."""
    return ("targets", ANY, *name[2:]) if len(name) > 1 and name[0] == "targets" else name


def is_setting(name: Name) -> bool:
    """Return whether a setting has this name."""
    return field_key(name) in FIELDS


def is_secret(name: Name) -> bool:
    """Return whether the setting is a secret: never shown, and readable from a file of its own."""
    return field_key(name) in SECRETS


def is_table(name: Name) -> bool:
    """Return whether the name is that of a table of settings."""
    key = field_key(name)
    return any(len(known) > len(name) and known[: len(name)] == key for known in FIELDS)


def env_name(name: Name) -> str:
    """Return the environment variable of a setting."""
    return ENV_PREFIX + "__".join(name).upper()
