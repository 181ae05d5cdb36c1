"""Standard Webhooks: the signature that shows a receiver who sent a request, and when."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

PREFIX = "whsec_"
SHORTEST, LONGEST = 16, 64
"""Bytes of a key; the specification asks for 24 to 64, older tools made 16."""


def key_from(secret: str) -> bytes:
    """The key that ``whsec_`` and base64 stand for.

    Raises:
        ValueError: it is no such text; the text itself is not in the message.
    """
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("a secret is not whsec_ and base64") from error
    if not SHORTEST <= len(key) <= LONGEST:
        raise ValueError(f"a secret has {len(key)} bytes; allowed are {SHORTEST} to {LONGEST}")
    return key


def signature(keys: Sequence[bytes], message_id: str, timestamp: int, body: bytes) -> str:
    """The header ``webhook-signature``: one ``v1,...`` for each key."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return " ".join(
        "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode() for key in keys
    )
