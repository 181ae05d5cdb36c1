"""The manual page, from the commands: `python -m daemon.cli.man > docs/campaignd.1`."""

from __future__ import annotations

from daemon.cli.reference import Choosable, Entry, entries

_HEAD = r""".\" Made from the commands by: python -m daemon.cli.man > docs/campaignd.1
.TH CAMPAIGND 1 "" campaignd "User Commands"
.SH NAME
campaignd \- a daemon that carries out campaigns when they are due
.SH SYNOPSIS
.B campaignd
[\-\-config PATH] [\-\-debug] COMMAND [ARGUMENT ...]
.SH DESCRIPTION
PostgreSQL holds campaigns and their schedules; campaignd claims each occurrence once when it is
due, hands the run to its target, and keeps what became of it. REF is a campaign's id or uuid.
.SH OPTIONS
.TP
.BI \-\-config " PATH"
The TOML file with the settings; else the environment variable CAMPAIGND_CONFIG, else
/etc/campaignd/campaignd.toml.
.TP
.B \-\-debug
Show tracebacks.
.TP
.B \-\-version
Show the version.
.SH COMMANDS"""

_TAIL = r""".SH EXIT STATUS
.TP
0
done
.TP
1
the thing asked about is not so: a failed check, bad lines, a daemon that is not well
.TP
2
wrong usage or configuration
.TP
3
the database can not be reached
.TP
4
the schema is out of date
.SH SIGNALS
.B campaignd run
drains and ends on SIGTERM and SIGINT, at once on a second one; SIGHUP reads the configuration
again.
.SH FILES
.TP
/etc/campaignd/campaignd.toml
The settings; campaignd.example.toml lists every one. CAMPAIGND_SECTION__NAME in the environment
wins over the file.
.TP
/var/lib/campaignd
The embedded PostgreSQL, where no database is given: CAMPAIGND_STATE_DIR says where. run, api,
import and db upgrade make one; the other commands want it to be there.
.SH SEE ALSO
.BR systemctl (1),
.BR journalctl (1),
.BR jq (1),
.BR psql (1)"""


def page() -> str:
    """The page, as roff."""
    return "\n".join([_HEAD, *map(_entry, entries()), _TAIL, ""])


def _entry(entry: Entry) -> str:
    heading = " ".join([*map(_plain, entry.words), *map(_plain, entry.arguments)])
    lines = [f'.SS "{heading}"', _plain(entry.help)]
    for option in entry.options:
        lines += [".TP", _option(option), _plain(option.help) or "\\&"]
    return "\n".join(lines)


def _option(option: Choosable) -> str:
    names = ", ".join(option.names)
    value = "|".join(option.choices) or option.value
    return f".B {_plain(names)}" + (f" {_plain(value)}" if value else "")


def _plain(text: str) -> str:
    """Text as roff takes it."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + escaped if escaped[:1] in (".", "'") else escaped


if __name__ == "__main__":
    print(page(), end="")
