"""Tensors that wait in host memory while nobody computes with them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import torch

from planner.domain.plan import Offload
from runtime.platform import device_kind

Part = Literal["weights", "gradients", "states"]
OFFLOADED: Mapping[Offload, tuple[Part, ...]] = {
    "none": (),
    "optimizer": ("states",),
    "all": ("weights", "gradients", "states"),
}


@dataclass(kw_only=True)
class Store:
    """The storages of some tensors. Without them the tensors are empty shells; views of them stay valid."""

    tensors: Callable[[], Iterable[torch.Tensor]]
    keeps: bool = True
    """Whether what they hold is needed again."""
    _away: list[tuple[torch.UntypedStorage, int]] = field(default_factory=list)
    _copies: list[torch.Tensor] = field(default_factory=list)
    """In host memory; their memory is used again, for pinning it takes long."""

    @property
    def is_away(self) -> bool:
        return bool(self._away)

    def send(self) -> None:
        """Copy to host memory, pinned on CUDA, and give the device's memory back."""
        if self._away:
            return
        here = storages(self.tensors())
        if self.keeps:
            earlier = [*self._copies, *[None] * len(here)]
            self._copies = [_copied(storage, copy) for storage, copy in zip(here, earlier, strict=False)]
            _synchronize()
        self._away = [(storage, storage.nbytes()) for storage in here]
        for storage in here:
            storage.resize_(0)

    def bring(self) -> None:
        """Take memory on the device again, with what was there if that is kept."""
        for number, (storage, size) in enumerate(self._away):
            storage.resize_(size)
            if self.keeps:
                _bytes(storage).copy_(self._copies[number], non_blocking=True)
        _synchronize()
        self._away = []


class Residence:
    """Which parts of an engine lie on the device; the offloaded ones come for as long as they are needed.

    Parameters
    ----------
    offload
        Which parts leave.
    """

    def __init__(self, offload: Offload, stores: Mapping[Part, Store]) -> None:
        self._stores = {part: stores[part] for part in OFFLOADED[offload] if part in stores}

    def send(self) -> None:
        """Send all offloaded parts away."""
        for store in self._stores.values():
            store.send()

    def bring(self, *parts: Part) -> None:
        """Bring parts that stay until `send`."""
        for part in parts:
            if part in self._stores:
                self._stores[part].bring()

    @contextmanager
    def at_hand(self, *parts: Part) -> Iterator[None]:
        """Have parts on the device; those that were away leave again."""
        came = [self._stores[part] for part in parts if part in self._stores and self._stores[part].is_away]
        for store in came:
            store.bring()
        try:
            yield
        finally:
            for store in came:
                store.send()


def storages(tensors: Iterable[torch.Tensor]) -> list[torch.UntypedStorage]:
    """What the tensors lie in, each once; not those that are away."""
    found = [tensor.untyped_storage() for tensor in tensors]
    return list({storage.data_ptr(): storage for storage in found if storage.nbytes()}.values())


def _copied(storage: torch.UntypedStorage, copy: torch.Tensor | None) -> torch.Tensor:
    source = _bytes(storage)
    if copy is None or copy.shape != source.shape:
        copy = torch.empty(source.shape, dtype=torch.uint8, pin_memory=device_kind() == "cuda")
    return copy.copy_(source, non_blocking=True)


def _bytes(storage: torch.UntypedStorage) -> torch.Tensor:
    return torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)


def _synchronize() -> None:
    if device_kind() == "cuda":
        torch.cuda.synchronize()
