"""Files in memory alone: for OpenSSL, which reads nothing else, and for keys on their way to another process."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


def write_memory(name: str, data: bytes) -> int:
    """Make an anonymous file.

    Returns:
        Its descriptor, which no exec passes on; what is read through it begins at its end.

    Raises:
        OSError: There is no descriptor or no memory for it.
    """
    fd = os.memfd_create(name, os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(fd), "wb") as file:
            file.write(data)
    except OSError:
        os.close(fd)
        raise
    return fd


@contextmanager
def memory_file(name: str, data: bytes) -> Iterator[str]:
    """Make one that has a path.

    Yields:
        The path, good for as long as the context lasts.

    Raises:
        OSError: There is no descriptor or no memory for it.
    """
    fd = write_memory(name, data)
    try:
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)
