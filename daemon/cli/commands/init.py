"""`campaignd init`: four questions, and a configuration that is checked."""

from __future__ import annotations

import base64
import json
import os
import secrets
import sys
from pathlib import Path
from typing import Annotated

import typer

from daemon.cli.commands.check import check_preconditions
from daemon.cli.confirm import confirm
from daemon.cli.context import context_of
from daemon.cli.options import YesOption

_FILE = Path("campaignd.toml")
_PORT = 8080
_TARGET = "crm"
_SECRET_BYTES = 24


def init(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write.")] = _FILE,
    database_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="The PostgreSQL, such as postgresql://user@host/name; empty: an embedded one.",
        ),
    ] = None,
    webhook: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Where runs are posted to; empty: they are written to the log."
        ),
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="NAME", help="The name of that target; default: crm.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(metavar="PORT", min=0, max=65535, help="The port of the API and the console."),
    ] = None,
    yes: YesOption = False,
) -> int:
    """Write a configuration, and check it.

    Four questions are asked on a terminal: the database, the webhook, its name, and the port. An
    option answers its question; --yes, or no terminal, takes the defaults of the others. A webhook
    gets a new secret for its signatures.
    """
    if file.exists():
        confirm(f"{file} exists. Replace it?", yes=yes, required=True)
    asks = not yes and sys.stdin.isatty() and sys.stderr.isatty()
    url = _answer(database_url, "PostgreSQL URL (empty: an embedded database)", "", asks)
    hook = _answer(webhook, "Webhook URL (empty: write runs to the log)", "", asks)
    name = _answer(target, "Name of this target", _TARGET, asks and bool(hook))
    number = port if port is not None else _answer_port(asks)
    text = configuration_text(url, hook, name, number)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as out:
        out.write(text)
    print(f"{file} is written; only its owner can read it")
    options = context_of(context)
    options.config = file
    options.choose_zone_data()
    code = check_preconditions(options, is_new=True)
    steps = ["campaignd db upgrade"] if url else []
    print("next:")
    for step in (f"export CAMPAIGND_CONFIG={file.resolve()}", *steps, "campaignd run"):
        print(f"  {step}")
    return code


def configuration_text(url: str, webhook: str, target: str, port: int) -> str:
    """Return the TOML of a configuration with these answers."""
    lines = ["# Every other setting, with its default: config/campaignd.example.toml", ""]
    if url:
        lines += [f"database_url = {_quoted(url)}", ""]
    lines += ["[api]", f"port = {port}", "", "[targets.log]", 'type = "log"']
    if webhook:
        key = base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()
        lines += [
            "",
            f"[targets.{_quoted(target)}]",
            'type = "webhook"',
            f"url = {_quoted(webhook)}",
            "# The receiver verifies signatures with this secret (docs/targets.md).",
            f"secrets = [{_quoted('whsec_' + key)}]",
        ]
    return "\n".join([*lines, ""])


def _answer(given: str | None, question: str, default: str, asks: bool) -> str:
    if given is not None:
        return given
    if not asks:
        return default
    return str(
        typer.prompt(question, default=default, show_default=bool(default), err=True)
    ).strip()


def _answer_port(asks: bool) -> int:
    if not asks:
        return _PORT
    return int(typer.prompt("Port of the API and the console", default=_PORT, type=int, err=True))


def _quoted(text: str) -> str:
    """Return a text as a TOML string; JSON's form is one of its forms."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
