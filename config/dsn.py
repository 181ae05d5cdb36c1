"""PostgreSQL URLs: a check of their shape, and a form without secrets for messages.

libpq decides when it connects. The check finds only mistakes that libpq would misread, or report
without naming the setting.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

ALLOWED = (
    "a postgresql:// URL: postgresql://[user[:password]@][host[:port],...][/database][?options]"
)

_SCHEME = re.compile(r"postgres(?:ql)?://")
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.%]+\]|[^\[\]:@,\s]*)(?::(\d*))?")
_SECRET_OPTION = re.compile(r"(?i)\b((?:ssl)?password|passfile)=[^&#\s]*")


def checked_dsn(text: str) -> str:
    """Return the URL with its scheme spelt `postgresql://`.

    Raises:
        ValueError: the text is not a PostgreSQL URL; the message contains no secret.
    """
    scheme = _SCHEME.match(text)
    if not scheme:
        raise ValueError("must begin with postgresql://")
    rest = text[scheme.end() :]
    if any(character.isspace() or not character.isprintable() for character in rest):
        raise ValueError("contains white space; write a space as %20")
    location, _, options = rest.partition("?")
    authority, _, _database = location.partition("/")
    if "@" in location.partition("/")[2]:
        raise ValueError("write a / in the password as %2F and an @ as %40")
    hosts = authority.rpartition("@")[2]
    for host in hosts.split(","):
        found = _HOST.fullmatch(host)
        if not found:
            raise ValueError("a host is not of the form name:port")
        if found[1] and not 0 < int(found[1]) <= 65535:
            raise ValueError("a port is not from 1 to 65535")
    for option in filter(None, options.split("&")):
        if "=" not in unquote(option):
            raise ValueError("an option is not of the form name=value")
    return "postgresql://" + rest


def redacted_dsn(text: str) -> str:
    """Return the URL for logs and messages, with `***` for every password.

    Where a URL is not well formed, rather too much is hidden than too little.
    """
    scheme = _SCHEME.match(text)
    if not scheme:
        return "***"
    rest = text[scheme.end() :]
    # The last @ counts, because a password that is not quoted may contain one, or a slash.
    user, at, where = rest.rpartition("@")
    if at and ":" in user:
        user = user.partition(":")[0] + ":***"
    return "postgresql://" + user + at + _SECRET_OPTION.sub(r"\1=***", where)
