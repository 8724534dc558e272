"""The option table: what a role costs in each strategy on each slot, without those that cannot matter.

Why dropping is safe. Roles meet only through the seconds of their calls, through persistent bytes (their sum,
with the greatest transient bytes of any role, must fit a device), through host bytes (their sum must fit the
device's part of its node) and through the slot. Both time models' objectives rise with every call's seconds:
the stage cost is made of sums and maxima of them, and a cyclic schedule stays valid when a call takes less.
Feasibility can only be lost as bytes rise. Take any plan and replace one role's option by another of the same
role and slot that is no greater in each call's seconds and in each kind of bytes: the plan still fits and
costs no more. Hence some optimal plan uses undominated options only, of which one of several equal ones
suffices. Three shortcuts would be wrong: adding persistent to transient bytes (of a pool's roles only the
greatest transient counts), adding up the seconds of different calls (other pools wait for some of them only),
and comparing options of different device counts (colocated roles must share one).

An option of a role that trains and generates is a training half (layout, micro-batch, recompute) and a
generation half (p_g, t_g, sequences at once), which belong together when their (p, t) agree: the training
layout enters generation through the reshard, that is through (p, t), only. The halves have calls of their
own, persistent bytes do not depend on the generation half, and transient bytes are the greater of the two.
Each of these rises with each half's value, so a half that is dominated among those of the same (p, t) makes
only dominated options: the halves are pruned first, then their products.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np

from planner.domain.cluster import NodePool
from planner.domain.dataflow import CallKind, DataflowGraph, ModelCall
from planner.domain.parallelism import GenerationStrategy, ParallelStrategy
from planner.domain.plan import CallPrediction, Recompute, RoleMemory, RoleStrategy
from planner.domain.scenario import Scenario
from planner.errors import SpecError
from planner.search.dominance import Integers, undominated
from planner.search.layouts import generation_layouts, layouts, micro_batches
from planner.units import MICROSECOND


class Costs(Protocol):
    """Seconds and bytes of a role in a strategy (`planner.costs.CostModel`)."""

    def foresee(self, role: str, strategies: Sequence[RoleStrategy], node_pool: NodePool, /) -> None:
        """Be told which strategies will be asked for, so as to predict them all at once."""
        ...

    def call(self, call: ModelCall, strategy: RoleStrategy, node_pool: NodePool, /) -> CallPrediction:
        """Seconds of one of the role's calls."""
        ...

    def memory(self, role: str, strategy: RoleStrategy, node_pool: NodePool, /) -> RoleMemory:
        """Bytes of the role on its fullest device, by kind."""
        ...

    def persistent_bytes(self, role: str, layout: ParallelStrategy, node_pool: NodePool, /) -> dict[str, int]:
        """Of these, the bytes live during the whole iteration."""
        ...

    def transient_bytes(
        self, call: ModelCall, strategy: RoleStrategy, node_pool: NodePool, /
    ) -> dict[str, int]:
        """Of these, the bytes beside them during one call."""
        ...


LONGEST_CALL_S = 1e8
"""Three years."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of one role on one slot, column by column."""

    strategies: Sequence[RoleStrategy]
    """By option; may be made when asked for."""
    call_us: Integers = field(repr=False)
    """Microseconds of each of the role's calls in program order, rounded up; shape (options, calls)."""
    persistent: Integers = field(repr=False)
    """Bytes per device during the whole iteration, shape (options,)."""
    transient: Integers = field(repr=False)
    """Greatest of the calls' bytes per device, shape (options,)."""
    host: Integers = field(repr=False)
    """Bytes of host memory per device, shape (options,)."""

    def __len__(self) -> int:
        return len(self.strategies)

    def take(self, rows: Integers) -> "Options":
        """Some of the options."""
        return Options(
            strategies=tuple(self.strategies[row] for row in rows),
            call_us=self.call_us[rows],
            persistent=self.persistent[rows],
            transient=self.transient[rows],
            host=self.host[rows],
        )

    def pruned(self) -> "Options":
        """The undominated options; the module's docstring proves that no others are needed."""
        columns = (self.call_us, self.persistent[:, None], self.transient[:, None], self.host[:, None])
        return self.take(undominated(np.concatenate(columns, axis=1)))


def microseconds(seconds: float) -> int:
    """Whole microseconds, rounded up.

    >>> microseconds(0.0000012)
    2

    Raises
    ------
    SpecError
        A call that lasts for decades is a mistake of the scenario, and more than the solvers can count.
    """
    if not seconds < LONGEST_CALL_S:
        raise SpecError(
            f"workload: one call would take {seconds:.3g} s, more than {LONGEST_CALL_S:.0e} s; "
            "reduce prompts, tokens or epochs"
        )
    return math.ceil(seconds / MICROSECOND)


@dataclass(frozen=True, kw_only=True)
class RoleTable:
    """What it takes to list and cost the strategies of one role on one node pool."""

    role: str
    scenario: Scenario
    graph: DataflowGraph
    costs: Costs
    node_pool: NodePool

    @cached_property
    def kinds(self) -> frozenset[CallKind]:
        """What the role's calls compute."""
        return frozenset(call.kind for call in self.graph.calls_of(self.role))

    def allows(self, phase: str, **fields: int | str) -> bool:
        """Whether the pins leave these fields free or agree."""
        return not self.scenario.pin.root or self.scenario.pin.allow(self.role, phase, **fields)

    def foresee(self, counts: Sequence[int]) -> None:
        """Let the costs predict the layouts of these device counts at once."""
        halves = [
            half
            for devices in counts
            if self.allows("", devices=devices, node_pool=self.node_pool.name)
            for layout in self.layouts(devices)
            for half in self.layout_halves(layout)
        ]
        self.costs.foresee(self.role, halves, self.node_pool)

    def options(self, devices: int) -> Options:
        """Undominated options on so many devices that agree with the pins and fit a device alone."""
        tables = [_no_options(len(self.graph.calls_of(self.role)))]
        if self.allows("", devices=devices, node_pool=self.node_pool.name):
            tables += [self.layout_options(layout) for layout in self.layouts(devices)]
        return _concatenated(tables).pruned()

    def smallest(self, devices: int) -> tuple[RoleStrategy, int] | None:
        """The strategy of the fewest bytes on so many devices, whether they fit or not, and its bytes."""
        sizes: list[tuple[int, RoleStrategy]] = []
        if self.allows("", devices=devices, node_pool=self.node_pool.name):
            for layout in self.layouts(devices):
                persistent = sum(self.costs.persistent_bytes(self.role, layout, self.node_pool).values())
                half = self._least_transient(self.layout_halves(layout), generating=False)
                other = self._least_transient(self.generation_halves(layout), generating=True)
                if half and "generate" not in self.kinds:
                    sizes.append((persistent + half[0], half[1]))
                elif half and other:
                    strategy = half[1].model_copy(update={"generate": other[1].generate})
                    sizes.append((persistent + max(half[0], other[0]), strategy))
        if not sizes:
            return None
        needed, strategy = min(sizes, key=lambda size: size[0])
        return strategy, needed

    def layouts(self, devices: int) -> Iterator[ParallelStrategy]:
        """Training or inference layouts that agree with the pins."""
        phase = "train" if "train" in self.kinds else "infer"
        for layout in layouts(self.scenario.models[self.role], self.node_pool, devices):
            if self.allows(phase, **layout.model_dump()):
                yield layout

    def layout_options(self, layout: ParallelStrategy) -> Options:
        """Undominated options in one layout."""
        persistent = sum(self.costs.persistent_bytes(self.role, layout, self.node_pool).values())
        halves = self._costed(self.layout_halves(layout), persistent, generating=False)
        if "generate" not in self.kinds or not len(halves):
            return halves
        return _product(halves, self._costed(self.generation_halves(layout), persistent, generating=True))

    def layout_halves(self, layout: ParallelStrategy) -> Iterator[RoleStrategy]:
        """Every micro-batch and recomputation in a layout."""
        recomputes: tuple[Recompute, ...] = ("none", "full") if "train" in self.kinds else ("none",)
        for micro_batch in micro_batches(self._sequences(layout)):
            for recompute in recomputes:
                if self.allows("", micro_batch=micro_batch, recompute=recompute):
                    yield self._strategy(layout, micro_batch=micro_batch, recompute=recompute)

    def generation_halves(self, layout: ParallelStrategy) -> Iterator[RoleStrategy]:
        """Every generation strategy on a layout."""
        for generate in generation_layouts(layout, self.scenario.workload.samples):
            if self.allows(
                "generate",
                pipeline=generate.pipeline,
                tensor=generate.tensor,
                replicas=generate.replicas,
                max_sequences=generate.max_sequences,
            ):
                yield self._strategy(layout, generate)

    def _sequences(self, layout: ParallelStrategy) -> int:
        """Sequences of the fullest replica: of a mini-batch in training, of all samples else."""
        work = self.scenario.workload
        steps = work.mini_batches if "train" in self.kinds else 1
        return math.ceil(math.ceil(work.samples / steps) / layout.data)

    def _strategy(
        self,
        layout: ParallelStrategy,
        generate: GenerationStrategy | None = None,
        *,
        micro_batch: int = 1,
        recompute: Recompute = "none",
    ) -> RoleStrategy:
        is_trained = "train" in self.kinds
        return RoleStrategy(
            train=layout if is_trained else None,
            infer=None if is_trained else layout,
            generate=generate,
            micro_batch=micro_batch,
            recompute=recompute,
        )

    def _calls(self, *, generating: bool) -> list[ModelCall]:
        return [call for call in self.graph.calls_of(self.role) if (call.kind == "generate") == generating]

    def _least_transient(
        self, halves: Iterator[RoleStrategy], *, generating: bool
    ) -> tuple[int, RoleStrategy] | None:
        calls = self._calls(generating=generating)
        sizes = [(self._transient(calls, half), half) for half in halves]
        return min(sizes, key=lambda size: size[0], default=None)

    def _costed(self, halves: Iterator[RoleStrategy], persistent: int, *, generating: bool) -> Options:
        """Cost the calls that generate, or all others, and keep the undominated halves that fit."""
        calls = self._calls(generating=generating)
        room = self.node_pool.device.usable_memory - persistent
        fitting = [
            (half, transient) for half in halves if (transient := self._transient(calls, half)) <= room
        ]
        return Options(
            strategies=tuple(half for half, _ in fitting),
            call_us=self._call_us(calls, [half for half, _ in fitting]),
            persistent=np.full(len(fitting), persistent, dtype=np.int64),
            host=np.zeros(len(fitting), dtype=np.int64),
            transient=np.array([transient for _, transient in fitting], dtype=np.int64),
        ).pruned()

    def _transient(self, calls: Sequence[ModelCall], half: RoleStrategy) -> int:
        peaks = [sum(self.costs.transient_bytes(call, half, self.node_pool).values()) for call in calls]
        return max(peaks, default=0)

    def _call_us(self, calls: Sequence[ModelCall], halves: Sequence[RoleStrategy]) -> Integers:
        """Microseconds of these calls; those of the role's other calls are 0."""
        own = self.graph.calls_of(self.role)
        call_us = np.zeros((len(halves), len(own)), dtype=np.int64)
        for call in calls:
            predictions = (self.costs.call(call, half, self.node_pool) for half in halves)
            us = [microseconds(prediction.seconds) for prediction in predictions]
            call_us[:, own.index(call)] = np.array(us, dtype=np.int64)
        return call_us


def _no_options(calls: int) -> Options:
    none = np.zeros(0, dtype=np.int64)
    return Options(strategies=(), call_us=none.reshape(0, calls), persistent=none, transient=none, host=none)


def _product(halves: Options, generation: Options) -> Options:
    """Each training half with each generation half of the same layout."""
    count = len(generation)
    numbers = np.arange(len(halves) * count)
    first, second = numbers // max(1, count), numbers % max(1, count)
    return Options(
        strategies=tuple(
            half.model_copy(update={"generate": other.generate})
            for half in halves.strategies
            for other in generation.strategies
        ),
        call_us=halves.call_us[first] + generation.call_us[second],
        persistent=halves.persistent[first],
        host=halves.host[first] + generation.host[second],
        transient=np.maximum(halves.transient[first], generation.transient[second]),
    ).pruned()


def _concatenated(tables: Sequence[Options]) -> Options:
    return Options(
        strategies=tuple(strategy for table in tables for strategy in table.strategies),
        call_us=np.concatenate([table.call_us for table in tables]),
        persistent=np.concatenate([table.persistent for table in tables]),
        host=np.concatenate([table.host for table in tables]),
        transient=np.concatenate([table.transient for table in tables]),
    )
