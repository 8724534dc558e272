"""What a patch of an upstream's private name is: named, dated, with its reason."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from runtime.platform.device import DeviceKind, device_kind

_applied: set[str] = set()


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
        Name of a patch to leave out; for the tests that ask whether it is still needed.
    """
    for patch in patches:
        if patch.name == without or patch.name in _applied or device_kind() not in patch.kinds:
            continue
        _applied.add(patch.name)
        patch.apply()
