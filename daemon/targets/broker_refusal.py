"""Recognises a broker that refuses every run, until an operator changes it or the settings."""

from __future__ import annotations

_REPLIES = frozenset({403, 405, 530, 540})
"""AMQP: access refused, exclusive queue of another, no such virtual host, not implemented."""
_INVALID_QUEUE = 406
"""AMQP: an argument of the queue is invalid; of a message, only that message is."""
_REDIS_ERRORS = frozenset({"AuthenticationError", "AuthorizationError", "NoPermissionError"})
_REDIS_WRONG_TYPE = "WRONGTYPE"
"""Redis: the key of the queue holds something else."""


def refuses_every_run(error: BaseException | None, *, publishing: bool = False) -> bool:
    """Return whether the broker answered that it takes no run of this target.

    Args:
        publishing: the error is that of a message, and not of the connection or the queue.
    """
    for _ in range(10):
        if error is None:
            return False
        reply = getattr(error, "reply_code", None)
        if reply in _REPLIES or (reply == _INVALID_QUEUE and not publishing):
            return True
        if _REDIS_ERRORS & {kind.__name__ for kind in type(error).__mro__}:
            return True
        if _REDIS_WRONG_TYPE in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False
