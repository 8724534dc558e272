"""Gloo, over which processes without CUDA talk: all groups of a process share one event loop."""

from datetime import timedelta
from typing import Any

from torch.distributed import ProcessGroupGloo, distributed_c10d

from runtime.platform.patches import Patch


class _OnOneLoop(ProcessGroupGloo):
    """A group on the network devices of the process's first group, which opens them as it would by itself."""

    _devices: tuple[Any, ...] = ()

    def __init__(self, store: Any, rank: int, size: int, timeout: timedelta) -> None:
        if not _OnOneLoop._devices:
            super().__init__(store, rank, size, timeout)
            _OnOneLoop._devices = tuple(self.options._devices)
            return
        options = ProcessGroupGloo._Options()
        options._devices, options._timeout = list(_OnOneLoop._devices), timeout
        super().__init__(store, rank, size, options)


def _share_loop() -> None:
    distributed_c10d.ProcessGroupGloo = _OnOneLoop  # type: ignore[misc]


PATCHES = (
    Patch(
        name="gloo-one-loop",
        made_for="torch 2.13.0",
        reason="each group opens devices of its own, whose loop wakes up a hundred times a second also when "
        "nothing is sent; an engine host has some fifty groups, a tenth of a core",
        apply=_share_loop,
    ),
)
