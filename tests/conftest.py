"""What all tests share: they hold on a busy machine too, and say what failed last."""

import atexit
import os

from hypothesis import HealthCheck, settings

settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@atexit.register
def _say_nothing_more() -> None:
    """Leave pytest's summary the last thing said: triton's bindings list what they leak after it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
