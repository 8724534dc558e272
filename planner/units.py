"""The only unit conversions.

Decimal prefixes are powers of 1000 and binary prefixes powers of 1024, so GB = 10**9 and GiB = 2**30.
A quantity in a file always carries its unit; a bare number is an error.
"""

import math
import re

from planner.errors import SpecError

GB = 10**9
GIB = 2**30
MICROSECOND = 1e-6
HOUR_S = 3600
MILLION = 10**6
MICRO_DOLLAR = 1e-6

_PREFIXES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15}
_BINARY_PREFIXES = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_BYTES = {f"{prefix}B": factor for prefix, factor in (_PREFIXES | _BINARY_PREFIXES).items()}
_BITS = {f"{prefix}bit": factor / 8 for prefix, factor in _PREFIXES.items()}
_BYTE_RATES = {f"{unit}/s": factor for unit, factor in (_BYTES | _BITS).items()}
_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "min": 60.0, "h": 3600.0, "d": 86400.0}
_FLOP_RATES = {f"{prefix}FLOP/s": factor for prefix, factor in _PREFIXES.items()}

_QUANTITY = re.compile(r"\s*([0-9][0-9_]*\.?[0-9]*(?:[eE][+-]?[0-9]+)?)\s*([A-Za-z/]+)\s*")


def parse_bytes(text: object) -> int:
    """Bytes of a text such as ``80 GiB``.

    >>> parse_bytes("80 GiB"), parse_bytes("1.5 kB")
    (85899345920, 1500)
    """
    return math.ceil(_parse(text, _BYTES, example="80 GiB"))


def parse_bytes_per_s(text: object) -> float:
    """Bytes per second of a text such as ``600 GB/s`` or ``200 Gbit/s``.

    >>> parse_bytes_per_s("200 Gbit/s")
    25000000000.0
    """
    return _parse(text, _BYTE_RATES, example="600 GB/s")


def parse_seconds(text: object) -> float:
    """Seconds of a text such as ``5 us``.

    >>> parse_seconds("250 ms")
    0.25
    """
    return _parse(text, _SECONDS, example="5 us")


def parse_flops_per_s(text: object) -> float:
    """FLOPs per second of a text such as ``312 TFLOP/s``.

    >>> parse_flops_per_s("312 TFLOP/s") == 312e12
    True
    """
    return _parse(text, _FLOP_RATES, example="312 TFLOP/s")


def format_bytes(count: float) -> str:
    """Binary-prefixed text with three significant digits.

    >>> format_bytes(85899345920)
    '80.0 GiB'
    """
    return _scaled(count, 1024, ("B", "KiB", "MiB", "GiB", "TiB"))


def format_bytes_per_s(rate: float) -> str:
    """Decimal-prefixed text of a rate.

    >>> format_bytes_per_s(25e9)
    '25.0 GB/s'
    """
    return _scaled(rate, 1000, ("B/s", "kB/s", "MB/s", "GB/s", "TB/s"))


def format_flops_per_s(rate: float) -> str:
    """Decimal-prefixed text of a rate.

    >>> format_flops_per_s(312e12)
    '312 TFLOP/s'
    """
    return _scaled(rate, 1000, ("FLOP/s", "kFLOP/s", "MFLOP/s", "GFLOP/s", "TFLOP/s", "PFLOP/s"))


def format_seconds(seconds: float) -> str:
    """Text with three significant digits, in the unit that reads best.

    >>> format_seconds(0.0042), format_seconds(75.3)
    ('4.20 ms', '75.3 s')
    """
    for unit, factor in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= factor or unit == "us":
            return f"{_three_digits(seconds / factor)} {unit}"
    raise AssertionError("unreachable")


def format_seconds_band(seconds: float, low: float | None, high: float | None) -> str:
    """Text of seconds with their 90 % band, where they have one.

    >>> format_seconds_band(62.81, 56.2, 70.49), format_seconds_band(1.0, None, None)
    ('62.8 s (56.2 s to 70.5 s, 90 %)', '1.00 s')
    """
    if low is None or high is None:
        return format_seconds(seconds)
    return f"{format_seconds(seconds)} ({format_seconds(low)} to {format_seconds(high)}, 90 %)"


def _parse(text: object, units: dict[str, float] | dict[str, int], *, example: str) -> float:
    match = _QUANTITY.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise SpecError(f"{text!r} is not a quantity with a unit, such as {example!r}")
    number, unit = match.groups()
    if unit not in units:
        known = ", ".join(units)
        raise SpecError(f"{unit!r} is not a unit here; write for instance {example!r} (known: {known})")
    value = float(number.replace("_", "")) * units[unit]
    if not math.isfinite(value):
        raise SpecError(f"{text!r} is too large; write for instance {example!r}")
    return value


def _scaled(value: float, base: int, units: tuple[str, ...]) -> str:
    index = 0
    while abs(value) >= base and index < len(units) - 1:
        value /= base
        index += 1
    return f"{_three_digits(value)} {units[index]}"


def _three_digits(value: float) -> str:
    if value == 0:
        return "0"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"
