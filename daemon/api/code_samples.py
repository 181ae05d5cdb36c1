"""Code samples of the specification: each operation in curl and in Python."""

from __future__ import annotations

import json
from typing import Any

SAMPLE_VALUES = {
    "ref": "1",
    "run_id": "8f14e45f-ceea-5e7a-9c3b-2d4f6a7b8c9d",
    "key_id": "1",
    "name": "log",
}
"""The values of parameters in paths."""


def code_samples(method: str, path: str, operation: dict[str, Any]) -> list[dict[str, str]]:
    """Return the `x-codeSamples` of an operation."""
    for name, value in SAMPLE_VALUES.items():
        path = path.replace(f"{{{name}}}", value)
    query = "&".join(
        f"{parameter['name']}={parameter['schema']['examples'][0]}"
        for parameter in operation.get("parameters", ())
        if parameter["in"] == "query" and parameter.get("required")
    )
    if query:
        path += f"?{query}"
    verb = method.upper()
    media_type, body = _example_body(operation)
    headers = {} if media_type is None else {"Content-Type": media_type}
    summary = operation.get("description", "")
    if "Requires an Idempotency-Key" in summary:
        headers["Idempotency-Key"] = "a-key-of-yours"
    needs_key = path.startswith("/api/")
    curl = _curl(verb, path, headers, body, needs_key=needs_key)
    python = _python(verb, path, headers, body, needs_key=needs_key)
    return [
        {"lang": "Shell", "label": "curl", "source": curl},
        {"lang": "Python", "label": "httpx", "source": python},
    ]


def _example_body(operation: dict[str, Any]) -> tuple[str | None, str | None]:
    content = operation.get("requestBody", {}).get("content", {})
    for media_type, described in content.items():
        for example in described.get("examples", {}).values():
            value = example["value"]
            return media_type, value if isinstance(value, str) else json.dumps(value)
    return None, None


def _curl(
    verb: str, path: str, headers: dict[str, str], body: str | None, *, needs_key: bool
) -> str:
    parts = ["curl --fail-with-body"]
    if verb != "GET":
        parts.append(f"-X {verb}")
    if needs_key:
        parts.append('-H "Authorization: Bearer $KEY"')
    parts += [f"-H '{name}: {value}'" for name, value in headers.items()]
    if body is not None:
        quoted = body.replace("'", "'\\''")
        parts.append(f"--data-binary '{quoted}'")
    return " ".join([*parts, f'"$API{path}"'])


def _python(
    verb: str, path: str, headers: dict[str, str], body: str | None, *, needs_key: bool
) -> str:
    lines = ["import os", "", "import httpx", "", "response = httpx.request("]
    lines += [f"    {verb!r},", f'    os.environ["API"] + {path!r},']
    given = [f"{name!r}: {value!r}" for name, value in headers.items()]
    if needs_key:
        given.insert(0, '"Authorization": f"Bearer {os.environ[\'KEY\']}"')
    if given:
        lines.append(f"    headers={{{', '.join(given)}}},")
    if body is not None:
        lines.append(f"    content={body!r},")
    return "\n".join([*lines, ")", "response.raise_for_status()", "print(response.text)"])
