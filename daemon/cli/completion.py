"""`campaignd completion SHELL`: what a shell needs to complete commands and options."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from daemon.cli.reference import Entry, entries

GLOBAL = ("--config", "--debug", "--version", "--help")


class Shell(StrEnum):
    """The shells there is a completion for."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(
    shell: Annotated[Shell, typer.Argument(help="bash, zsh or fish.", show_default=False)],
) -> None:
    """Print a completion script: source it, or put it where the shell looks for it."""
    match shell:
        case Shell.BASH:
            print(_bash())
        case Shell.ZSH:
            print("#compdef campaignd\nautoload -U +X bashcompinit && bashcompinit\n" + _bash())
        case Shell.FISH:
            print(_fish())


def _bash() -> str:
    found = entries()
    cases = []
    for entry in found:
        words = " ".join(name for option in entry.options for name in option.names)
        cases.append(f'    "{" ".join(entry.words)}") words="{words} --help" ;;')
        cases += [
            f'    "{" ".join(entry.words)} {name}") words="{" ".join(option.choices)}" ;;'
            for option in entry.options
            for name in option.names
            if option.choices
        ]
    for name, inner in _groups(found).items():
        cases.append(f'    "{name}") words="{" ".join(inner)} --help" ;;')
    tops = " ".join(dict.fromkeys(entry.words[0] for entry in found))
    lines = "\n".join(cases)
    return f"""_campaignd_words() {{
    words=
    case $1 in
{lines}
    esac
}}
_campaignd() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}}
    local key= words= word
    local -a given=("${{COMP_WORDS[@]:1:COMP_CWORD-1}}")
    for word in "${{given[@]}}"; do
        [[ $word == -* ]] || key="${{key:+$key }}$word"
    done
    while [[ $key ]]; do
        if [[ $previous == -* ]]; then _campaignd_words "$key $previous"; fi
        [[ $words ]] || _campaignd_words "$key"
        [[ $words ]] && break
        [[ $key == *" "* ]] || break
        key=${{key% *}}
    done
    [[ $key ]] || words="{tops} {" ".join(GLOBAL)}"
    COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _campaignd campaignd"""


def _groups(found: list[Entry]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for entry in found:
        if len(entry.words) > 1:
            groups.setdefault(entry.words[0], []).append(entry.words[1])
    return groups


def _fish() -> str:
    found = entries()
    first = "__fish_use_subcommand"
    names = dict.fromkeys(entry.words[0] for entry in found)
    lines = [f"complete -c campaignd -n {first} -a {name}" for name in names]
    for group, inner in _groups(found).items():
        seen = f"'__fish_seen_subcommand_from {group}'"
        lines.append(f"complete -c campaignd -f -n {seen} -a '{' '.join(inner)}'")
    for entry in found:
        seen = f"'__fish_seen_subcommand_from {entry.words[-1]}'"
        for option in entry.options:
            written = [
                f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}"
                for name in option.names
            ]
            takes = f" -x -a '{' '.join(option.choices)}'" if option.value else ""
            lines.append(f"complete -c campaignd -n {seen} {' '.join(written)}{takes}")
    return "\n".join(lines)
