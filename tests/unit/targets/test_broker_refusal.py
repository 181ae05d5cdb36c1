"""Answers of a broker that refuses every run are distinguished from failures that may pass."""

from __future__ import annotations

import pytest
from amqp import exceptions as amqp
from kombu.exceptions import OperationalError
from redis import exceptions as redis

from daemon.targets.broker_refusal import refuses_every_run


def caused_by(cause: Exception) -> OperationalError:
    error = OperationalError(str(cause))
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        amqp.NotAllowed("vhost /x not found"),
        amqp.AccessRefused("login was refused"),
        amqp.ResourceLocked("exclusive"),
        redis.NoPermissionError("NOPERM"),
        redis.ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value"),
        caused_by(redis.AuthenticationError("WRONGPASS")),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_refusal(error: Exception) -> None:
    assert refuses_every_run(error)
    assert refuses_every_run(error, publishing=True)


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(),
        TimeoutError(),
        amqp.ConnectionForced("shutdown"),
        amqp.RecoverableConnectionError("gone"),
        caused_by(redis.ConnectionError("refused")),
        redis.ResponseError("OOM command not allowed"),
        None,
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_failure_that_may_pass(error: Exception | None) -> None:
    assert not refuses_every_run(error)


def test_a_message_that_is_too_large_is_refused_alone() -> None:
    """The broker uses one number for it and for arguments that a queue cannot have."""
    error = amqp.PreconditionFailed("message size 9 is larger than configured max size 8")
    assert refuses_every_run(error)
    assert not refuses_every_run(error, publishing=True)
