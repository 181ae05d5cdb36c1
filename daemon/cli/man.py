"""The manual page, written from the commands: `python -m daemon.cli.man > docs/campaignd.1`.

Not click-man: it reads options only from classes of the package click, and Typer has classes of its
own. It also writes a page for each command, where one page with all of them is easier to search.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer
from typer.main import get_command

from daemon.cli.lazy_group import COMMANDS, load_command
from daemon.cli.main import app

_HEAD = r""".\" Made from the commands by: python -m daemon.cli.man > docs/campaignd.1
.TH CAMPAIGND 1 "" campaignd "User Commands"
.SH NAME
campaignd \- a daemon that carries out campaigns when they are due
.SH SYNOPSIS
.B campaignd
[\-\-config PATH] [\-\-debug] COMMAND [ARGUMENT ...]
.SH DESCRIPTION
PostgreSQL stores campaigns and their schedules. campaignd claims each due occurrence once, delivers
the run to its target, and records the outcome. REF is a campaign's id or uuid,
or its name if that is unique. RUN is a run's id, or its first characters while they are unique.
.SH OPTIONS
.TP
.BI \-\-config " PATH"
The TOML file with the settings. Without it, the file that the environment variable CAMPAIGND_CONFIG
names, else /etc/campaignd/campaignd.toml.
.TP
.B \-\-debug
Show tracebacks of errors.
.TP
.BI \-\-server " URL"
Work over the HTTP API of a daemon: its URL, or a profile of ~/.config/campaignd/servers.toml with
url, and key or key_file. Without it, CAMPAIGND_SERVER.
.TP
.BI \-\-key\-file " FILE"
The API key for \-\-server. Without it, CAMPAIGND_KEY_FILE, or that of the profile.
.TP
.BI \-\-timeout " SECONDS"
How long a command waits for the database; default 5. A daemon waits for scheduler.startup_timeout.
.TP
.B \-\-version
Show the version and exit.
.TP
.BI \-\-install\-completion
Install completion for the current shell.
.TP
.BI \-\-show\-completion
Show the completion script for the current shell.
.PP
These options, and those that a list of rows takes, are accepted before the command and after it.
.SH COMMANDS"""

_TAIL = r""".SH EXIT STATUS
.TP
0
success
.TP
1
the checked thing is not as it should be: a failed check, bad lines, an unhealthy node
.TP
2
wrong usage or configuration
.TP
3
the database cannot be reached
.TP
4
the schema is out of date, or the database's role lacks a privilege
.SH SIGNALS
.B campaignd run
drains and stops on SIGTERM and SIGINT, and stops at once on a second one. SIGHUP reads the
configuration again.
.SH FILES
.TP
/etc/campaignd/campaignd.toml
The settings; campaignd.example.toml documents every one. An environment variable
CAMPAIGND_SECTION__NAME takes precedence over the file.
.TP
/var/lib/campaignd
The embedded PostgreSQL, where no database is configured; CAMPAIGND_STATE_DIR names another
directory. The commands run, api, create, import and db upgrade create it; for the others it must
exist.
.SH SEE ALSO
.BR systemctl (1),
.BR journalctl (1),
.BR jq (1),
.BR psql (1)"""


def manual_page() -> str:
    """Return the manual page as roff."""
    sections = (_command_section(context) for context in command_contexts())
    return "\n".join([_HEAD, *sections, _TAIL, ""])


def command_contexts() -> Iterator[Any]:
    """Yield a Click context for each command; for a group, one for each of its commands."""
    root = typer.Context(get_command(app), info_name="campaignd")
    for name in COMMANDS:
        command = load_command(name)
        context = typer.Context(command, info_name=name, parent=root)
        inner = getattr(command, "commands", None)
        if inner is None:
            yield context
        else:
            for inner_name, inner_command in inner.items():
                yield typer.Context(inner_command, info_name=inner_name, parent=context)


def _command_section(context: Any) -> str:
    """Return the section of a command: synopsis, help, options."""
    command = context.command
    words = context.command_path.removeprefix("campaignd ")
    arguments = [piece for piece in command.collect_usage_pieces(context) if piece != "[OPTIONS]"]
    lines = [f'.SS "{_escape_roff(" ".join([words, *arguments]))}"']
    lines.append("\n.PP\n".join(_escape_roff(part) for part in _split_paragraphs(command.help)))
    for parameter in command.params:
        if parameter.param_type_name == "option" and (record := parameter.get_help_record(context)):
            names, text = record
            lines += [".TP", f".B {_escape_roff(names)}", _escape_roff(text)]
    return "\n".join(lines)


def _split_paragraphs(text: str) -> list[str]:
    return [" ".join(part.split()) for part in text.split("\n\n")]


def _escape_roff(text: str) -> str:
    """Return text as roff reads it literally."""
    escaped = " ".join(text.split()).replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + escaped if escaped[:1] in (".", "'") else escaped


if __name__ == "__main__":
    print(manual_page(), end="")
