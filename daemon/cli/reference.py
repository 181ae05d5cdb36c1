"""Every command with its options, read off the functions: for the manual page and completion."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import typer
from typer.models import ArgumentInfo, OptionInfo

from daemon.cli.lazy_group import COMMANDS


@dataclass(frozen=True, slots=True)
class Choosable:
    """An option: how it is written, what it takes, what it is for."""

    names: tuple[str, ...]
    value: str
    help: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """A command; ``words`` are two for one inside a group."""

    words: tuple[str, ...]
    arguments: tuple[str, ...]
    options: tuple[Choosable, ...]
    help: str


def entries() -> list[Entry]:
    """Every command there is, in the order of the help."""
    found: list[Entry] = []
    for name, (where, text) in COMMANDS.items():
        module, _, attribute = where.partition(":")
        command = getattr(importlib.import_module(module), attribute)
        if isinstance(command, typer.Typer):
            found += [
                _entry((name, row.name or row.callback.__name__.rstrip("_")), row.callback, text)
                for row in command.registered_commands
                if row.callback is not None
            ]
        else:
            found.append(_entry((name,), command, text))
    return found


def _entry(words: tuple[str, ...], function: Callable[..., Any], text: str) -> Entry:
    arguments, options = [], []
    for parameter, kind, info in _parameters(function):
        if isinstance(info, OptionInfo):
            if not info.hidden:
                options.append(_option(parameter.name, kind, info))
        else:
            name = (info.metavar or parameter.name.upper()).strip("[]")
            required = parameter.default is inspect.Parameter.empty
            arguments.append(name if required else f"[{name}]")
    said = " ".join((inspect.getdoc(function) or text).split("\n\n")[0].split())
    return Entry(words, tuple(arguments), tuple(options), said)


def _parameters(
    function: Callable[..., Any],
) -> Iterator[tuple[inspect.Parameter, Any, OptionInfo | ArgumentInfo]]:
    hints = get_type_hints(function, include_extras=True)
    for parameter in inspect.signature(function).parameters.values():
        hint = hints[parameter.name]
        if get_origin(hint) is Annotated:
            kind, *extras = get_args(hint)
            for info in extras:
                if isinstance(info, OptionInfo | ArgumentInfo):
                    yield parameter, _bare(kind), info


def _bare(kind: Any) -> Any:
    """The type without its None."""
    if get_origin(kind) in (Union, UnionType):
        return next(each for each in get_args(kind) if each is not type(None))
    return kind


def _option(name: str, kind: Any, info: OptionInfo) -> Choosable:
    written = [part for each in info.param_decls or () for part in each.split("/")]
    names = tuple(each for each in written if each.startswith("-"))
    if not any(each.startswith("--") for each in names):
        names = (f"--{name.strip('_').replace('_', '-')}", *names)
    is_choice = isinstance(kind, type) and issubclass(kind, Enum)
    choices = tuple(str(each.value) for each in kind) if is_choice else ()
    value = "" if kind is bool else info.metavar or name.upper()
    return Choosable(names, value, " ".join((info.help or "").split()), choices)
