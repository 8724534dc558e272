"""What every rank needs, imported once by the fork server."""

import runtime.engines.megatron
import tests.runtime.tiny  # noqa: F401
