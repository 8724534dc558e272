"""What every rank needs, imported once by the fork server."""

import runtime.engines.hybrid
import tests.runtime.tiny  # noqa: F401
