"""Read the settings from flags, environment, files and defaults; or list every problem.

Precedence: flags, `CAMPAIGND_*`, systemd credentials, the TOML file, defaults. The place of each
value is kept until all values are checked, so that an error can name it.
"""

from __future__ import annotations

import os
import re
import socket
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from config.errors import ConfigurationError
from config.messages import problem_lines, unknown_setting
from config.names import ANY, ENV_PREFIX, SECRETS, env_name, is_secret, is_setting, is_table
from config.servers import KEY_FILE_VARIABLE, SERVER_VARIABLE
from config.settings import Settings
from config.timezone_data import CONFIG_VARIABLE, DEFAULT_FILE

# Kubernetes and Docker set these variables in a container for each service. The variables of a
# service whose name begins with campaignd look like settings.
_SERVICE_LINK = re.compile(
    rf"{ENV_PREFIX}(\w+_)?"
    r"(SERVICE_HOST=.*|SERVICE_PORT(_\w+)?=.*|PORT=(tcp|udp|sctp)://.*"
    r"|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?=.*|NAME=/.+/.+)",
    re.DOTALL,
)

# The shapes of a line in a TOML file: a table header, and a key with its dotted parts.
_TOML_HEADER = re.compile(r"\s*\[+\s*([^\[\]]+?)\s*\]+\s*(?:#.*)?")
_TOML_PART = re.compile(r"""[\w-]+|"[^"]*"|'[^']*'""")
_TOML_DOTTED = rf"(?:{_TOML_PART.pattern})(?:\s*\.\s*(?:{_TOML_PART.pattern}))*"
_TOML_KEY = re.compile(rf"\s*({_TOML_DOTTED})\s*=")

Name = tuple[str, ...]
NOT_SETTINGS = frozenset({CONFIG_VARIABLE, SERVER_VARIABLE, KEY_FILE_VARIABLE})
"""Variables with the settings' prefix that are none."""


@dataclass
class GatheredValues:
    """Values with their places, and the problems so far; a later value replaces an earlier one."""

    values: dict[Name, Any] = field(default_factory=dict)
    places: dict[Name, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    from_files: list[tuple[Path, Name, Any]] = field(default_factory=list)
    """The values of all files, also of those that another place replaces."""

    def set_value(self, name: Name, value: Any, place: str) -> None:
        self.values[name] = value
        self.places[name] = place

    def to_nested(self) -> dict[str, Any]:
        tree: dict[str, Any] = {}
        for name, value in self.values.items():
            inner = tree
            for part in name[:-1]:
                inner = inner.setdefault(part, {})
            if value != {}:
                inner[name[-1]] = value
            else:
                inner.setdefault(name[-1], {})
        return tree


def load_settings(
    config_file: Path | None = None,
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Read, merge and check the configuration.

    Args:
        config_file: the file of `--config`; None for `CAMPAIGND_CONFIG`, else the default file.
        flags: values by dotted name (`"api.port"`); None for a flag that was not given.
        environ: the environment, `os.environ` by default.

    Raises:
        ConfigurationError: the configuration is invalid; it lists every problem.
    """
    gathered = gather_values(config_file, environ)
    for dotted, value in (flags or {}).items():
        if value is not None:
            flag = "--" + dotted.split(".")[-1].replace("_", "-")
            gathered.set_value(tuple(dotted.split(".")), value, flag)
    try:
        settings = Settings.model_validate(gathered.to_nested())
    except ValidationError as error:
        gathered.problems += problem_lines(error, gathered.places)
    if gathered.problems:
        raise ConfigurationError(gathered.problems)
    return settings


def gather_values(config_file: Path | None, environ: Mapping[str, str] | None) -> GatheredValues:
    """Return the values of all places but the flags, unchecked, with the problems of reading them.

    The arguments are those of `load_settings`.
    """
    environ = os.environ if environ is None else environ
    gathered = GatheredValues()
    _gather_defaults(gathered, environ)
    _gather_file(gathered, config_file, environ)
    _gather_credentials(gathered, environ)
    _gather_environment(gathered, environ)
    return gathered


def _gather_defaults(gathered: GatheredValues, environ: Mapping[str, str]) -> None:
    """Set the defaults that depend on the machine."""
    name = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname()).lstrip("._-")[:63]
    gathered.set_value(("node_name",), name or "node", "the host name")
    if given := environ.get("STATE_DIRECTORY"):
        gathered.set_value(("state_dir",), given.split(":")[0], "STATE_DIRECTORY")
        return
    home = environ.get("XDG_DATA_HOME", "")
    if not Path(home).is_absolute():
        try:
            home = str(
                Path(environ["HOME"] if environ.get("HOME") else Path.home(), ".local/share")
            )
        except RuntimeError:  # no HOME, and a user without an account
            home = "/var/lib"
    gathered.set_value(("state_dir",), str(Path(home, "campaignd")), "the user's data directory")


def _gather_file(gathered: GatheredValues, named: Path | None, environ: Mapping[str, str]) -> None:
    origin, path = "--config", named
    if path is None and environ.get(CONFIG_VARIABLE):
        origin, path = CONFIG_VARIABLE, Path(environ[CONFIG_VARIABLE])
    try:
        text = (path or DEFAULT_FILE).read_text(encoding="utf-8-sig")
        tree = tomllib.loads(text)
    except (FileNotFoundError, NotADirectoryError) as error:
        if path is not None:
            gathered.problems.append(f"{origin}: {path}: {os.strerror(error.errno or 0)}")
        return
    except OSError as error:
        problem = f"{path or DEFAULT_FILE}: {os.strerror(error.errno or 0)}"
        gathered.problems.append(f"{origin}: {problem}" if path else problem)
        return
    except UnicodeDecodeError:
        gathered.problems.append(f"{path or DEFAULT_FILE}: not UTF-8 text")
        return
    except tomllib.TOMLDecodeError as error:
        gathered.problems.append(f"{path or DEFAULT_FILE}: not valid TOML: {error}")
        return
    _gather_table(gathered, (), tree, text, path or DEFAULT_FILE)


def _gather_table(
    gathered: GatheredValues, above: Name, table: Mapping[str, Any], text: str, path: Path
) -> None:
    for key, value in table.items():
        name = (*above, key)
        line = line_number_of(text, name)
        place = f"{path}:{line}" if line else str(path)
        if is_table(name):
            if isinstance(value, dict):
                if not value:
                    gathered.set_value(name, {}, place)
                _gather_table(gathered, name, value, text, path)
            else:
                gathered.problems.append(
                    f"{'.'.join(name)} = {value!r} ({place}): allowed is a table"
                )
        elif is_setting(name):
            gathered.set_value(name, value, place)
            gathered.from_files.append((path, name, value))
        else:
            gathered.problems.append(unknown_setting(name, place))


def _gather_credentials(gathered: GatheredValues, environ: Mapping[str, str]) -> None:
    directory = environ.get("CREDENTIALS_DIRECTORY")
    if not directory:
        return
    for name in SECRETS:
        path = Path(directory, "_".join(name))
        if ANY not in name and path.exists():
            _gather_secret_file(gathered, name, path, str(path))
    settings = sorted({name[2] for name in SECRETS if ANY in name})
    targets = sorted(_named_targets(gathered, environ))
    for path in sorted(Path(directory).glob("targets_*")):
        meant = [
            ("targets", target, setting)
            for target in targets
            for setting in settings
            if path.name == f"targets_{target}_{setting}"
        ]
        if len(meant) == 1:
            _gather_secret_file(gathered, meant[0], path, str(path))
        elif meant:
            both = " or ".join(".".join(name) for name in meant)
            gathered.problems.append(
                f"{path}: ambiguous: {both}; name the file with CAMPAIGND_TARGETS__..._FILE"
            )
        else:
            gathered.problems.append(
                f"{path}: not a secret of a configured target; allowed is"
                f" targets_NAME_SETTING, where SETTING is one of {', '.join(settings)}"
            )


def _named_targets(gathered: GatheredValues, environ: Mapping[str, str]) -> set[str]:
    """Return the targets that the file or the environment names; secrets alone make none."""
    names = *gathered.values, *map(_setting_of_variable, environ)
    return {name[1] for name in names if len(name) > 2 and name[0] == "targets"}


def _setting_of_variable(variable: str) -> Name:
    """Return the setting that a variable sets; empty for other programs' variables."""
    if not variable.startswith(ENV_PREFIX):
        return ()
    return tuple(variable.removeprefix(ENV_PREFIX).lower().split("__"))


def _secret_of_file_setting(name: Name) -> Name | None:
    """Return the secret whose file a `..._file` name gives; `secrets_file` is a setting itself."""
    secret = (*name[:-1], name[-1].removesuffix("_file"))
    return secret if secret != name and is_secret(secret) and not is_setting(name) else None


def _gather_environment(gathered: GatheredValues, environ: Mapping[str, str]) -> None:
    for variable, value in sorted(environ.items()):
        if not variable.startswith(ENV_PREFIX) or variable in NOT_SETTINGS:
            continue
        name = _setting_of_variable(variable)
        secret = _secret_of_file_setting(name)
        if not (secret or is_setting(name)) and _is_service_link(variable, environ):
            continue
        if variable != variable.upper() or not (secret or is_setting(name)):
            gathered.problems.append(unknown_setting(name, variable, in_environment=True))
        elif not value:
            continue  # Compose files write an unset variable as an empty one
        elif secret is None:
            gathered.set_value(name, value, variable)
        elif environ.get(env_name(secret)):
            gathered.problems.append(
                f"{variable}: {env_name(secret)} is set as well; allowed is one of the two"
            )
        else:
            _gather_secret_file(gathered, secret, Path(value), variable)


def _is_service_link(variable: str, environ: Mapping[str, str]) -> bool:
    if _SERVICE_LINK.fullmatch(f"{variable}={environ[variable]}"):
        return True
    # Docker also passes on the variables of the linked container.
    links = [name for name in environ if name.endswith("_NAME")]
    return any(
        variable.startswith(name.removesuffix("NAME") + "ENV_")
        for name in links
        if _SERVICE_LINK.fullmatch(f"{name}={environ[name]}")
    )


def _gather_secret_file(gathered: GatheredValues, name: Name, path: Path, place: str) -> None:
    try:
        value = path.read_text(encoding="utf-8-sig").rstrip("\r\n")
    except OSError as error:
        gathered.problems.append(
            f"{'.'.join(name)} ({place}): {path}: {os.strerror(error.errno or 0)}"
        )
    except UnicodeDecodeError:
        gathered.problems.append(f"{'.'.join(name)} ({place}): {path}: not UTF-8 text")
    else:
        gathered.set_value(name, value, place)
        gathered.from_files.append((path, name, value))


def line_number_of(text: str, name: tuple[str, ...]) -> int | None:
    """Return the line of a setting in a TOML file, or of the nearest table around it.

    The text is scanned by shape. A key inside an inline table is not recognised, and gets the line
    of the nearest key or table around it.

    Returns:
        The line, counted from 1; None if there is none.
    """
    best: tuple[int, int] | None = None  # (parts that match, line)
    section: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _TOML_HEADER.fullmatch(line):
            here = section = _split_toml_key(header[1])
        elif key := _TOML_KEY.match(line):
            here = section + _split_toml_key(key[1])
        else:
            continue
        if name[: len(here)] == here and (best is None or len(here) > best[0]):
            best = (len(here), number)
    return best and best[1]


def _split_toml_key(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in _TOML_PART.findall(dotted))
