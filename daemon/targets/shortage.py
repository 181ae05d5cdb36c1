"""Recognises failures for lack of this process's own resources: no fault of the target."""

from __future__ import annotations

import errno
import os
import socket

SHORT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
"""Error numbers of a lack of descriptors or memory."""


def is_resource_shortage(error: BaseException | None) -> bool:
    """Return whether this process lacked descriptors, memory or threads.

    Ask only about failures before the target was reached: the attempt is then repeated as if it had
    not been made.
    """
    for _ in range(10):
        if error is None:
            return False
        match getattr(error, "os_error", None) or error:
            case MemoryError():
                return True
            case RuntimeError() as cause if "new thread" in str(cause):
                return True
            case socket.gaierror(errno=int(number)):
                # Without a socket for the query, the error is that of a name server that is down.
                if number == socket.EAI_MEMORY or _lacks_descriptors():
                    return True
            case OSError(errno=int(number)) if number in SHORT:
                return True
        error = error.__cause__ or error.__context__
    return False


def _lacks_descriptors() -> bool:
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return error.errno in SHORT
    return False
