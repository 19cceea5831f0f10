"""Reading a plain file whole: never a pipe, which may never end, nor a device, which has no end."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

__all__ = ["read_plain"]


def read_plain(path: Path, most: int = -1) -> bytes:
    """The bytes of a regular file, found through links.

    Args:
        path: the file.
        most: read no more than so many bytes; all of them where negative.

    Raises:
        OSError: it cannot be opened or read, or is no regular file.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        kind = os.fstat(handle).st_mode
        if stat.S_ISDIR(kind):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(kind):
            raise OSError(errno.EINVAL, "is not a plain file", str(path))
        return file.read(most)
