"""`campaignd listen PORT`: a receiver of webhooks that verifies and prints them."""

from __future__ import annotations

import hmac
import json
import sys
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Annotated, Any

import typer

from daemon.cli.completing import complete_targets
from daemon.cli.context import context_of
from daemon.cli.screen import Screen, screen
from daemon.runtime.clock import SystemClock
from daemon.targets.webhook import read_keys
from daemon.targets.webhook_signature import key_from, signature

TOLERANCE_S = 300
"""Seconds that a signature's time may differ from now, as Standard Webhooks has it."""
_MAX_BODY = 1 << 20


def listen(
    context: typer.Context,
    port: Annotated[
        int, typer.Argument(metavar="PORT", min=0, max=65535, help="The port; 0 picks one.")
    ] = 9000,
    target: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Verify with the secrets of this webhook target.",
            autocompletion=complete_targets,
        ),
    ] = None,
    secret: Annotated[
        list[str] | None,
        typer.Option(metavar="SECRET", help="Verify with this secret, whsec_...; several may be."),
    ] = None,
    status: Annotated[
        int, typer.Option(metavar="CODE", min=200, max=599, help="The answer to every request.")
    ] = 200,
) -> int:
    """Receive webhooks, verify their signatures, and print them.

    The receiver listens on this machine only, until Ctrl-C. Without --target or --secret,
    signatures are not verified. A request with a wrong signature is answered 401.
    """
    keys = _read_keys(context, target, secret or [])
    with ThreadingHTTPServer(("127.0.0.1", port), _handler(keys, status, screen())) as server:
        print(f"listening on http://127.0.0.1:{server.server_port}/", file=sys.stderr, flush=True)
        server.serve_forever()
    return 0


def _read_keys(context: typer.Context, target: str | None, secrets: Sequence[str]) -> list[bytes]:
    try:
        keys = [key_from(secret) for secret in secrets]
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--secret") from None
    if target is not None:
        found: Any = context_of(context).read_settings().targets.get(target)
        if found is None or found.type != "webhook":
            raise typer.BadParameter(f"{target!r} is not a webhook target", param_hint="--target")
        keys += read_keys(found.secrets, found.secrets_file)
        if not keys:
            raise typer.BadParameter(f"{target!r} has no secrets", param_hint="--target")
    return keys


def verdict(keys: Sequence[bytes], headers: Any, body: bytes, now: float) -> str | None:
    """Return what is wrong with a request's signature; None when it is right.

    Args:
        keys: the keys, one of which must have signed.
        headers: the headers of Standard Webhooks, by name.
        body: the body as received.
        now: the time, in seconds since 1970.
    """
    identity, stamp = headers.get("webhook-id"), headers.get("webhook-timestamp") or ""
    signed = (headers.get("webhook-signature") or "").split()
    if not identity or not signed or not stamp.isdigit():
        return "no signature"
    if abs(now - int(stamp)) > TOLERANCE_S:
        return "signed too long ago, or in the future"
    wanted = signature(keys, identity, int(stamp), body).split()
    if any(hmac.compare_digest(one, other) for one in wanted for other in signed):
        return None
    return "wrong signature"


def _handler(keys: Sequence[bytes], status: int, shown: Screen) -> type[BaseHTTPRequestHandler]:
    seen: set[str] = set()

    class Handler(BaseHTTPRequestHandler):
        """Prints a request, and answers it."""

        def do_POST(self) -> None:
            length = self.headers.get("content-length", "")
            body = self.rfile.read(min(int(length) if length.isdigit() else 0, _MAX_BODY))
            now = SystemClock().now()
            fault = verdict(keys, self.headers, body, now.timestamp()) if keys else None
            identity = self.headers.get("webhook-id") or ""
            word = fault or ("signature ok" if keys else "signature not verified")
            again = ", again" if identity in seen else ""
            clock = f"{now.astimezone(shown.zone):%H:%M:%S}"
            print(
                f"{clock} {shown.style(word, 'failed' if fault else 'ok')}{again}: {_summary(body)}"
            )
            print(shown.style(f"    {_one_line(body)}", "dim"), flush=True)
            seen.add(identity)
            self.send_response(401 if fault else status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Print nothing beside the request itself."""

    return Handler


def _summary(body: bytes) -> str:
    """Return the run of a message in words; for another body, its length."""
    try:
        data = json.loads(body)["data"]
        words = f"run {str(data['run_id'])[:8]}, attempt {data['attempt']}"
        return f"{words}, campaign {data['campaign_id']} {data['campaign_name']!r}"
    except (ValueError, LookupError, TypeError):
        return f"{len(body)} bytes"


def _one_line(body: bytes) -> str:
    text = " ".join(body.decode("utf-8", "replace").split())
    return text if text.isprintable() else text.encode("unicode_escape").decode()
