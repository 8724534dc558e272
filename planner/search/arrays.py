"""Arrays that the search computes with."""

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
"""Microseconds, bytes, and numbers of rows."""
Booleans = NDArray[np.bool_]
