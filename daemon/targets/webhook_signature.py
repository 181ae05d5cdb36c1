"""Standard Webhooks: the signature that proves the sender and the time of a request."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

PREFIX = "whsec_"
MIN_KEY_BYTES, MAX_KEY_BYTES = 16, 64
"""Length of a key in bytes; the specification asks for 24 to 64, older tools made 16."""


def key_from(secret: str) -> bytes:
    """Return the key of a secret, which is ``whsec_`` and base64.

    Raises:
        ValueError: the secret is invalid; the message does not contain it.
    """
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("a secret is invalid; it must be whsec_ and base64") from error
    if not MIN_KEY_BYTES <= len(key) <= MAX_KEY_BYTES:
        allowed = f"{MIN_KEY_BYTES} to {MAX_KEY_BYTES} bytes"
        raise ValueError(f"a secret is invalid: {len(key)} bytes; allowed are {allowed}")
    return key


def signature(keys: Sequence[bytes], message_id: str, timestamp: int, body: bytes) -> str:
    """Return the header ``webhook-signature``: one ``v1,...`` for each key."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return " ".join(
        "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode() for key in keys
    )
