"""Colours that people with colour blindness tell apart (Okabe and Ito, "Color Universal Design", 2008)."""

from matplotlib.colors import to_hex, to_rgb

INK = "#222222"
FAINT = "#8a8a8a"
RULE = "#d9d9d9"

BLUE = "#0072b2"
GREEN = "#009e73"
ORANGE = "#e69f00"
RED = "#d55e00"
PURPLE = "#cc79a7"
SKY = "#56b4e9"
YELLOW = "#d8c800"
"""Darker than theirs, which is lost on white."""

KINDS = {
    "generate": BLUE,
    "infer": GREEN,
    "train": ORANGE,
    "reshard": RED,
    "send": RED,
    "receive": RED,
    "numeric": "#999999",
}
"""Of spans."""
KIND_WORDS = {"reshard": "weight sync", "send": "weight sync", "receive": "weight sync"}

GROUPS = {
    "weights": GREEN,
    "KV cache": BLUE,
    "activations": ORANGE,
    "logits": PURPLE,
    "gradients": YELLOW,
    "optimizer": SKY,
    "buffers": RED,
}
"""Of bytes that a call takes."""


def tinted(colour: str, share: float) -> str:
    """A colour with so much white in it.

    >>> tinted("#000000", 0.5)
    '#808080'
    """
    red, green, blue = (channel + (1 - channel) * share for channel in to_rgb(colour))
    return to_hex((red, green, blue))


def grey(index: int, count: int) -> str:
    """One of several greys from dark to light."""
    level = 0.58 + 0.3 * (index / max(1, count - 1))
    return to_hex((level, level, level))


def readable_on(colour: str) -> str:
    """White or ink, whichever has more contrast with a colour (WCAG 2.1, relative luminance)."""
    channels = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    luminance = sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), channels, strict=True))
    return "white" if luminance < 0.3 else INK
