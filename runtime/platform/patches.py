"""What a patch of an upstream's private name is: named, dated, with its reason."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from runtime.platform.device import DeviceKind, device_kind

_decided: set[str] = set()


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """A change of something inside an upstream package; each has a test that fails once it is not needed."""

    name: str
    made_for: str
    """Upstream and version that it was written against."""
    reason: str
    apply: Callable[[], None]
    kinds: tuple[DeviceKind, ...] = ("cpu",)
    """Devices on which it is needed."""


def apply_once(patches: Iterable[Patch], *, without: str = "") -> None:
    """Apply those patches that this machine needs and that this process does not have yet.

    Parameters
    ----------
    without
        Name of a patch to leave out for good; for the tests that ask whether it is still needed.
    """
    for patch in patches:
        if patch.name not in _decided and device_kind() in patch.kinds:
            _decided.add(patch.name)
            if patch.name != without:
                patch.apply()
