"""What passes between the controller and one rank of a worker group."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, NamedTuple

from planner.domain.dataflow import Option
from runtime.batch import Piece
from runtime.rows import Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of one role, as one rank sees it."""

    name: str
    role: str
    method: str
    iteration: int
    rows: tuple[Sequence[int], ...]
    """Numbers of this rank's samples, one sequence per mini-batch of an update, else one."""
    options: Mapping[str, Option] = field(default_factory=dict)
    inputs: Mapping[str, tuple[Piece, ...]] = field(default_factory=dict)
    """Of each field that is read, the pieces of the shards passed beside the call."""
    writes: tuple[str, ...] = ()
    pretraining: tuple[Sequence[int], ...] = ()
    """Of an update that learns from pretraining data: numbers of this rank's sequences by mini-batch."""
    answers: bool = True
    """Whether this rank's outputs are part of the result."""


class Mean(NamedTuple):
    """A mean over some of an iteration's samples, which those of other ranks can be joined with."""

    total: float
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a role's method returns: fields it adds, numbers to report, and clock times of its parts."""

    fields: Mapping[str, Rows] = field(default_factory=dict)
    metrics: Mapping[str, float | Mean] = field(default_factory=dict)
    parts: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Start and end of named parts of the call, such as ``reshard``; seconds since the epoch."""
    kept: tuple[int, ...] | None = None
    """Of a call that drops samples: those of its rows that go on, counted from its first; None for all."""
    lengths: tuple[int, ...] = ()
    """Of a generation: tokens of each sample, prompt and response."""


class Report(NamedTuple):
    """What the controller learns of a call on one rank."""

    start_s: float
    end_s: float
    parts: Mapping[str, tuple[float, float]]
    metrics: Mapping[str, float | Mean]
    kept: tuple[int, ...] | None = None
    lengths: tuple[int, ...] = ()


PROMPTS = "prompts"
"""The role that deals out prompts and turns tokens into texts; in the process of the numeric calls."""

Role = Any
"""An object with a method ``method(call, fields) -> Answer`` for each method of the role."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a process makes its roles: a function's name, so that only the process loads what it needs."""

    module: str
    function: str
    arguments: tuple[Any, ...]

    def __call__(self) -> Mapping[str, Role]:
        return getattr(import_module(self.module), self.function)(*self.arguments)
