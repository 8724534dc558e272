"""Standard output: where answers are written, or said not to be."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class UnwrittenError(Exception):
    """Standard output takes no answer; its cause says why."""


@contextmanager
def answering() -> Iterator[None]:
    """While this writes to standard output, and nowhere else.

    Raises
    ------
    UnwrittenError
        The output is closed, or a disk is full.
    """
    try:
        yield
    except OSError as error:
        raise UnwrittenError(error.strerror) from error


def write(text: str) -> None:
    """Write to standard output; raises UnwrittenError as `answering` does."""
    with answering():
        sys.stdout.write(text)


def drop() -> None:
    """Let nothing that is still to be written fail once more."""
    if sys.stdout is not None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
