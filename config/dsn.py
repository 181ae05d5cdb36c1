"""PostgreSQL URLs: a check that libpq accepts them, and a form without secrets for messages.

libpq decides, but its messages quote the password. So its messages are never shown: the checks
before it give the reason, and the last ones name the option that it refuses.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import unquote

ALLOWED = (
    "a postgresql:// URL: postgresql://[user[:password]@][host[:port],...][/database][?options]"
)

_SCHEME = re.compile(r"postgres(?:ql)?://")
_USER = re.compile(r"[^@/]*@")
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.%]+\]|[^\[\]:@,\s]*)(?::(\d*))?")
_OPTION_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")
_SECRET_NAME = re.compile(r"(?i)pass|pwd|secret|token|key")
_OTHER_FORMS = (
    (re.compile(r"""["'`]"""), "must not begin with a quote"),
    (re.compile(r"\s"), "must not begin with white space"),
    (re.compile(r"(?i)jdbc:"), "must not begin with jdbc:"),
    (re.compile(r"(?i)postgres(ql)?\+\w+://"), "must not name a driver after postgresql"),
    (re.compile(r"\w+\s*="), "must not be a list of parameters such as host=... dbname=..."),
    (re.compile(""), "must begin with postgresql://"),
)
"""Other forms in which connections are written, and the reason for refusing each."""
_NUMERIC = (
    "connect_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
)
_WORDS = {
    "sslmode": "disable, allow, prefer, require, verify-ca or verify-full",
    "target_session_attrs": "any, read-write, read-only, primary, standby or prefer-standby",
}
_NOWHERE = "/dev/null"
"""A directory of sockets that cannot exist."""


def checked_dsn(text: str) -> str:
    """Return the URL with its scheme spelt `postgresql://`.

    Raises:
        ValueError: libpq would refuse the URL; the message contains no secret.
    """
    scheme = _SCHEME.match(text)
    if not scheme:
        raise ValueError(next(reason for form, reason in _OTHER_FORMS if form.match(text)))
    rest = text[scheme.end() :]
    if any(character.isspace() or not character.isprintable() for character in rest):
        raise ValueError("contains white space; write a space as %20")
    if re.search(r"%(?![0-9A-Fa-f]{2})", rest):
        raise ValueError("contains a % that begins no code; write a % as %25")
    user = _USER.match(rest)
    location, _, options = rest[user.end() if user else 0 :].partition("?")
    _check_location(location, options)
    _check_options(options)
    url = "postgresql://" + rest
    _check_with_libpq(url)
    return url


def _check_location(location: str, options: str) -> None:
    hosts = location.partition("/")[0].split(",")
    ports = [_HOST.fullmatch(host) for host in hosts]
    if "@" in location or (None in ports and "@" in options):
        raise ValueError("write a / in the password as %2F and an @ as %40")
    for found in ports:
        if not found:
            raise ValueError("a host is not of the form name:port")
        if found[1]:
            _check_port(found[1])


def _check_port(text: str) -> None:
    if not text.isdecimal() or not 0 < int(text) <= 65535:
        raise ValueError("a port is not from 1 to 65535")


def _check_options(options: str) -> None:
    from psycopg.pq import Conninfo

    known = {option.keyword.decode() for option in Conninfo.get_defaults()} | {"ssl"}
    for option in options.removesuffix("&").split("&") if options else []:
        name, equals, value = option.partition("=")
        if not equals:
            raise ValueError("an option is not of the form name=value")
        if unquote(name) not in known:
            # Where a password contains a question mark, its end is no option's name.
            shown = f" {name}" if _OPTION_NAME.fullmatch(name) and "@" not in options else ""
            raise ValueError(f"contains an option{shown} that PostgreSQL does not know")
        if "=" in value:
            raise ValueError(f"contains a = in the value of {name}; write it as %3D")


def _check_with_libpq(url: str) -> None:
    """Raise ValueError when libpq cannot parse the URL, or knows a value of it to be wrong."""
    from psycopg import Error
    from psycopg.conninfo import conninfo_to_dict, make_conninfo
    from psycopg.pq import Conninfo, PGconn

    try:
        given = {name: str(value) for name, value in conninfo_to_dict(url).items()}
    except Error:
        raise ValueError("contains something that libpq cannot parse") from None
    _check_lists(given)
    for name in _NUMERIC:
        if not re.fullmatch(r"[+-]?\d{1,9}", given.get(name, "0")):
            raise ValueError(f"contains an option {name} that is not a whole number")
    # libpq checks the values before it connects, and names the first option that it refuses.
    attempt = PGconn.connect_start(
        make_conninfo(url, host=_NOWHERE, hostaddr="", port="5432").encode()
    )
    message = attempt.error_message.decode("utf-8", "replace")
    attempt.finish()
    if f'"{_NOWHERE}/' in message:
        return
    variables = {each.keyword.decode(): each.envvar for each in Conninfo.get_defaults()}
    name = next((word for word in re.findall(r"\w+", message) if word in variables), "")
    if name:
        raise ValueError(_refusal_reason(name, variables[name] if name not in given else None))


def _check_lists(given: dict[str, str]) -> None:
    """Raise ValueError when the lists of hosts, addresses and ports do not match each other."""
    hosts, addresses, ports = (
        given[name].split(",") if given.get(name) else [] for name in ("host", "hostaddr", "port")
    )
    for address in filter(None, addresses):
        try:
            ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            raise ValueError("a hostaddr is not an IP address") from None
    if hosts and addresses and len(hosts) != len(addresses):
        raise ValueError(f"contains {len(hosts)} hosts and {len(addresses)} addresses for them")
    count = len(addresses or hosts)
    if count and len(ports) > 1 and len(ports) != count:
        raise ValueError(f"contains {count} hosts and {len(ports)} ports for them")
    for port in filter(None, ports):
        _check_port(port)


def _refusal_reason(name: str, variable: bytes | None) -> str:
    reason = f"contains a value of {name} that libpq refuses"
    if name == "service":
        reason = "contains a service that is not in a readable pg_service.conf"
    elif name in _WORDS:
        reason += f"; it is one of {_WORDS[name]}"
    return f"is used with the variable {variable.decode()}, which {reason}" if variable else reason


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
    if "?" in user:
        return "postgresql://" + re.split("[:?]", user)[0] + ":***"
    if ":" in user:
        user = user.partition(":")[0] + ":***"
    location, mark, options = where.partition("?")
    authority, slash, database = location.partition("/")
    hosts = [host if _HOST.fullmatch(host) else "***" for host in authority.split(",")]
    shown = "&".join(_redacted_option(option) for option in options.split("&"))
    return f"postgresql://{user}{at}{','.join(hosts)}{slash}{database}{mark}{shown}"


def _redacted_option(option: str) -> str:
    name, equals, _ = option.partition("=")
    if not option or (equals and not _SECRET_NAME.search(unquote(name))):
        return option
    return name + equals + "***" if equals else "***"
