"""What every rank needs, imported once by the fork server."""

import pytest  # noqa: F401

import runtime.engines.hybrid  # noqa: F401
import tests.runtime.tiny  # noqa: F401
