"""Pins: fields of a plan that its user decides (``actor.train.tensor: 4``, ``critic.train: p1t2d2``)."""

from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import ConfigDict, RootModel, ValidationError, model_serializer, model_validator

from planner.domain.dataflow import ACTOR, GENERATOR
from planner.domain.parallelism import ParallelStrategy

_LAYOUT_FIELDS = ("pipeline", "tensor", "data", "context", "expert", "virtual")
_GENERATE_FIELDS = ("pipeline", "tensor", "replicas", "max_sequences", "cache_tokens")
_PHASE_FIELDS = {"train": _LAYOUT_FIELDS, "infer": _LAYOUT_FIELDS, "generate": _GENERATE_FIELDS}
_CHOICES = {"recompute": ("none", "selective", "full"), "offload": ("none", "optimizer", "all")}
_ROLE_FIELDS = ("devices", "micro_batch", "micro_batch_tokens", "recompute", "offload", "node_pool")


@dataclass(frozen=True, slots=True, order=True)
class PinKey:
    """One pinned field: of a phase (``actor.train.tensor``) or of the role (``actor.devices``)."""

    role: str
    phase: str
    """Empty for a field of the role itself."""
    field: str

    def __str__(self) -> str:
        return ".".join(part for part in (self.role, self.phase, self.field) if part)


class Pins(RootModel[dict[PinKey, int | str]]):
    """Pinned fields and their values; a whole layout stands for all its sizes."""

    model_config = ConfigDict(frozen=True)
    root: dict[PinKey, int | str] = {}
    TEXT_FIELDS: ClassVar = ("recompute", "offload", "node_pool")

    @model_validator(mode="before")
    @classmethod
    def _parse(cls, value: Any) -> Any:
        if isinstance(value, cls):
            return value.root
        if not isinstance(value, dict):
            raise ValueError("pin is a mapping such as {actor.train.tensor: 4}")
        pins: dict[PinKey, int | str] = {}
        mistakes: list[str] = []
        for key, setting in value.items():
            try:
                pins |= {key: setting} if isinstance(key, PinKey) else _parse_pin(str(key), setting)
            except ValueError as mistake:
                mistakes.append(str(mistake))
        if mistakes:
            raise ValueError("\n".join(mistakes))
        return pins

    @model_serializer
    def _serialize(self) -> dict[str, int | str]:
        return {str(key): self.root[key] for key in sorted(self.root)}

    @property
    def device_counts(self) -> frozenset[int]:
        """Those that some role's pool must have."""
        return frozenset(
            int(value) for key, value in self.root.items() if (key.phase, key.field) == ("", "devices")
        )

    def allow(self, role: str, phase: str, **fields: int | str) -> bool:
        """Whether these fields of a role's phase agree with the pins."""
        return all(self.value(role, phase, name) in (None, setting) for name, setting in fields.items())

    def value(self, role: str, phase: str, field: str) -> int | str | None:
        """What a field is pinned to; none where it is free.

        How the actor generates is how its generator does, where it has one without a pin of its own.
        """
        own = self.root.get(PinKey(role, phase, field))
        if own is None and (role, phase) == (GENERATOR, "generate"):
            return self.root.get(PinKey(ACTOR, phase, field))
        return own


def _parse_pin(key: str, setting: object) -> dict[PinKey, int | str]:
    parts = key.split(".")
    if len(parts) == 2 and parts[1] in ("train", "infer"):
        layout = _parse_layout(key, setting)
        return {PinKey(parts[0], parts[1], name): getattr(layout, name) for name in _LAYOUT_FIELDS}
    if len(parts) == 2 and parts[1] in _ROLE_FIELDS:
        return {PinKey(parts[0], "", parts[1]): _pinned_value(key, parts[1], setting)}
    if len(parts) == 3 and parts[2] in _PHASE_FIELDS.get(parts[1], ()):
        return {PinKey(*parts): _pinned_value(key, parts[2], setting)}
    raise ValueError(
        f"{key!r} is not a field of a plan; write role.train.tensor, role.generate.replicas, role.devices, "
        "role.micro_batch, role.recompute, role.offload, role.node_pool, or role.train: p1t2d2"
    )


def _parse_layout(key: str, setting: object) -> ParallelStrategy:
    try:
        return ParallelStrategy.parse(str(setting))
    except ValidationError:
        raise ValueError(f"{key}: each size of {setting!r} must be a whole number from 1") from None
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None


def _pinned_value(key: str, field: str, setting: object) -> int | str:
    if field in _CHOICES and setting not in _CHOICES[field]:
        raise ValueError(f"{key} must be one of {', '.join(_CHOICES[field])}, not {setting!r}")
    if field in Pins.TEXT_FIELDS and isinstance(setting, str):
        return setting
    if field not in Pins.TEXT_FIELDS and type(setting) is int and setting >= 1:
        return setting
    wanted = "a name" if field in Pins.TEXT_FIELDS else "a whole number from 1"
    raise ValueError(f"{key} must be {wanted}, not {setting!r}")
