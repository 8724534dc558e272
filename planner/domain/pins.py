"""Pins: fields of a plan that its user decides (``actor.train.tensor: 4``, ``critic.train: p1t2d2``)."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import ConfigDict, RootModel, ValidationError, model_serializer, model_validator

from planner.domain.dataflow import ACTOR, GENERATOR
from planner.domain.parallelism import ParallelStrategy
from planner.errors import InfeasibleError

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
        pins: list[tuple[str, dict[PinKey, int | str]]] = []
        mistakes: list[str] = []
        for key, setting in value.items():
            try:
                fields = {key: setting} if isinstance(key, PinKey) else parse_pin(str(key), setting)
                pins.append((f"pin {key}: {setting}", fields))
            except ValueError as mistake:
                mistakes.append(str(mistake))
        if mistakes:
            raise ValueError("\n".join(mistakes))
        refuse_contradictions(pins)
        return {key: setting for _, fields in pins for key, setting in fields.items()}

    @model_serializer
    def _serialize(self) -> dict[str, int | str]:
        return {str(key): self.root[key] for key in sorted(self.root)}

    @property
    def device_counts(self) -> frozenset[int]:
        """Those that some role's pool must have."""
        return frozenset(
            int(value) for key, value in self.root.items() if (key.phase, key.field) == ("", "devices")
        )

    def demands(self) -> Iterator[tuple[str, frozenset[PinKey]]]:
        """What the pins demand, in words and fields; a layout of which all sizes are pinned is one demand."""
        done: set[PinKey] = set()
        for key in self.root:
            sizes = [PinKey(key.role, key.phase, name) for name in _LAYOUT_FIELDS]
            if key in done:
                continue
            if key.phase in ("train", "infer") and all(size in self.root for size in sizes):
                layout = ParallelStrategy.model_validate({size.field: self.root[size] for size in sizes})
                yield f"{key.role}.{key.phase}: {layout}", frozenset(sizes)
                done.update(sizes)
            else:
                yield f"{key}: {self.root[key]}", frozenset([key])

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


def refuse_contradictions(pins: Iterable[tuple[str, Mapping[PinKey, int | str]]]) -> None:
    """Refuse pins that give one field two values.

    Parameters
    ----------
    pins
        Each in words, with the fields that it pins.

    Raises
    ------
    InfeasibleError
        Names the two pins and the field.
    """
    known: dict[PinKey, str] = {}
    values: dict[PinKey, int | str] = {}
    for words, fields in pins:
        for field, value in fields.items():
            if values.setdefault(field, value) != value:
                raise InfeasibleError(
                    f"{known[field]} and {words} contradict each other: {field} cannot be both "
                    f"{values[field]} and {value}",
                    fix="drop one of the two",
                )
            known.setdefault(field, words)


def unfolded(pins: Mapping[str, Any]) -> dict[str, Any]:
    """Pins with whole layouts written size by size; what is no pin is left to be refused where it is read.

    >>> sorted(unfolded({"actor.train": "p1t8d2", "actor.devices": 16}))[:3]
    ['actor.devices', 'actor.train.context', 'actor.train.data']
    """
    found: dict[str, Any] = {}
    for key, setting in pins.items():
        try:
            found |= {str(field): value for field, value in parse_pin(key, setting).items()}
        except ValueError:
            found[key] = setting
    return found


def parse_pin(key: str, setting: object) -> dict[PinKey, int | str]:
    """The fields that one pin of a file decides.

    Raises
    ------
    ValueError
        Says why it is no pin.
    """
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
