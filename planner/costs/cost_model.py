"""The cost model of one scenario: seconds of a call and bytes of a role, in any layout on any node pool."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from planner.costs.arrays.generation_table import Generations
from planner.costs.arrays.role_costs import (
    RoleCosts,
    costs_of,
    generated,
    generation_costs,
    generator_costs,
    passes_of,
)
from planner.costs.arrays.sync_table import Syncs
from planner.costs.arrays.table import Configurations, Floats
from planner.costs.arrays.transfer_table import with_receives, with_sends
from planner.costs.corrections import CallSeconds, Corrections, workload_of
from planner.costs.memory.generation_memory import weight_bytes
from planner.costs.memory.memory import (
    generation_bytes,
    host_bytes,
    inference_bytes,
    persistent_bytes,
    training_bytes,
)
from planner.costs.passes.inference import inference_seconds
from planner.costs.passes.training import training_seconds
from planner.costs.serving.generation import generation_seconds
from planner.costs.setting import Setting
from planner.costs.sync.transfer import receive_bytes, receive_seconds, send_bytes, send_seconds
from planner.costs.sync.transition import reshard_seconds, training_shard_bytes
from planner.domain.cluster import NodePool
from planner.domain.dataflow import CallKind, DataflowGraph, ModelCall
from planner.domain.parallelism import GenerationStrategy, ParallelStrategy
from planner.domain.plan import CallPrediction, Offload, RoleMemory, RoleStrategy
from planner.domain.profile import MeasuredCall, Profile
from planner.domain.scenario import Scenario, head_of
from planner.domain.workload import Work


class CostModel:
    """Predicts every call and every role of one scenario.

    Parameters
    ----------
    profiles
        Measurements. A call that one of them covers exactly takes its seconds; others on the
        same device are corrected by the factors of their measured call, or else of their kind: one
        for the work and one for the weight sync before it.
    """

    def __init__(self, scenario: Scenario, graph: DataflowGraph, *, profiles: Sequence[Profile] = ()) -> None:
        self.scenario = scenario
        self.graph = graph
        self._profiles = tuple(profiles)
        self._settings: dict[tuple[str, int, Work], tuple[NodePool, Setting]] = {}
        self._corrections: dict[int, tuple[NodePool, Corrections]] = {}
        self._generations: dict[tuple[str, int, Work, GenerationStrategy], float] = {}

    def layouts(
        self, role: str, rows: Configurations, node_pool: NodePool, *, offloads: Sequence[Offload] = ("none",)
    ) -> list[RoleCosts]:
        """Costs of the role's calls that train or infer in very many layouts, one table for each offload.

        Equal to those of `call` and `memory`.
        """
        calls = self._settled(role, node_pool, "train", "infer")
        passes = passes_of(calls, rows, is_trained=role in self.graph.trained_roles)
        correct = partial(self._corrected, node_pool)
        sends = self._settled(role, node_pool, "send")
        return [
            with_sends(costs_of(passes, rows, offload, correct), sends, rows, offload=offload)
            for offload in offloads
        ]

    def generations(
        self, role: str, pairs: Syncs, node_pool: NodePool, *, offloads: Sequence[Offload] = ("none",)
    ) -> list[RoleCosts]:
        """The same of its calls that generate, in pairs of training layouts and generation strategies."""
        calls = self._settled(role, node_pool, "generate")
        passes = generated(calls, pairs)
        correct = partial(self._corrected, node_pool)
        return [generation_costs(passes, pairs, offload, correct) for offload in offloads]

    def generators(self, role: str, rows: Generations, node_pool: NodePool) -> RoleCosts:
        """The same of a role that only generates, and receives its weights."""
        calls = self._settled(role, node_pool, "generate")
        costs = generator_costs(calls, rows, correct=partial(self._corrected, node_pool))
        return with_receives(costs, self._settled(role, node_pool, "receive"), rows)

    def _settled(self, role: str, node_pool: NodePool, *kinds: CallKind) -> list[tuple[ModelCall, Setting]]:
        """The role's calls of these kinds, each with what it depends on."""
        calls = [call for call in self.graph.calls_of(role) if call.kind in kinds]
        return [(call, self.setting(role, node_pool, call.work)) for call in calls]

    def _corrected(
        self,
        node_pool: NodePool,
        call: ModelCall,
        seconds: CallSeconds,
        alike: Callable[[RoleStrategy], NDArray[np.bool_]],
    ) -> Floats:
        if not self._profiles:
            return np.asarray(seconds.whole)
        setting = self.setting(call.role, node_pool, call.work)
        return self._corrections_of(node_pool).corrected(
            call, seconds, alike, model=setting.model, workload=setting.workload
        )

    def call(self, call: ModelCall, strategy: RoleStrategy, node_pool: NodePool) -> CallPrediction:
        """Seconds of one whole call of one iteration: all samples, and all epochs of an update.

        A generate call includes the weight sync before it. Profiles say nothing of sends and receives.
        """
        setting = self.setting(call.role, node_pool, call.work)
        is_transfer = call.kind in ("send", "receive")
        corrections = self._corrections_of(node_pool) if self._profiles and not is_transfer else None
        measured = corrections and corrections.find(call, strategy, setting.model, setting.workload)
        if measured:
            return CallPrediction(
                seconds=measured.seconds, reshard_seconds=measured.reshard_seconds, origin="measured"
            )
        seconds = self.modelled_seconds(call, strategy, node_pool)
        factor = corrections.factor(call) if corrections else None
        if factor is not None:
            seconds = seconds.times(factor)
        return CallPrediction(
            seconds=float(seconds.whole),
            reshard_seconds=float(seconds.sync),
            origin="modelled" if factor is None else "scaled",
        )

    def modelled_seconds(self, call: ModelCall, strategy: RoleStrategy, node_pool: NodePool) -> CallSeconds:
        """Of one whole call, from the device's rates alone."""
        setting = self.setting(call.role, node_pool, call.work)
        if call.kind != "generate":
            return _seconds(setting, call.kind, strategy)
        assert strategy.generate is not None, "a role that generates has a generation layout"
        key = (call.role, id(node_pool), call.work, strategy.generate)
        if key not in self._generations:
            self._generations[key] = generation_seconds(setting, strategy.generate)
        return CallSeconds(self._generations[key], _sync_seconds(setting, strategy))

    def memory(self, role: str, strategy: RoleStrategy, node_pool: NodePool) -> RoleMemory:
        """Bytes of the role on its fullest device.

        Calls that the strategy has no layout for are left out, so that the training and the generation half
        can be asked for one by one.
        """
        return RoleMemory(
            persistent=self.persistent_bytes(role, strategy.layout, node_pool, offload=strategy.offload),
            transient={
                call.name: self.transient_bytes(call, strategy, node_pool)
                for call in self.graph.calls_of(role)
                if call.kind != "generate" or strategy.generate is not None
            },
            host=self._host_bytes(role, strategy, node_pool),
        )

    def persistent_bytes(
        self, role: str, layout: ParallelStrategy, node_pool: NodePool, *, offload: Offload = "none"
    ) -> dict[str, int]:
        """Bytes of the role during the whole iteration, by kind; of one that only generates its weights."""
        calls = self._settled(role, node_pool, "train", "infer")
        if not calls:
            setting = self.setting(role, node_pool)
            return {"generation_weights": weight_bytes(setting, _generation_of(layout))}
        is_trained = role in self.graph.trained_roles
        return persistent_bytes(calls[0][1], layout, is_trained=is_trained, offload=offload)

    def _host_bytes(self, role: str, strategy: RoleStrategy, node_pool: NodePool) -> int:
        calls = self._settled(role, node_pool, "train", "infer")
        if not calls or strategy.offload == "none":
            return 0
        is_trained = role in self.graph.trained_roles
        kinds = host_bytes(calls[0][1], strategy.layout, offload=strategy.offload, is_trained=is_trained)
        return sum(kinds.values())

    def transient_bytes(self, call: ModelCall, strategy: RoleStrategy, node_pool: NodePool) -> dict[str, int]:
        """Bytes beside those during one call, by kind."""
        setting = self.setting(call.role, node_pool, call.work)
        if call.kind == "train":
            return training_bytes(setting, strategy)
        if call.kind == "infer":
            return inference_bytes(setting, strategy)
        if call.kind == "send":
            return send_bytes(setting, strategy)
        if call.kind == "receive":
            return receive_bytes(setting)
        return _generation_bytes(setting, strategy)

    def setting(self, role: str, node_pool: NodePool, work: Work = "samples") -> Setting:
        """What the costs of a role's calls of some work depend on, on a node pool."""
        key = (role, id(node_pool), work)
        if key not in self._settings:
            self._settings[key] = (node_pool, self._shared_setting(role, node_pool, work))
        return self._settings[key][1]

    def _shared_setting(self, role: str, node_pool: NodePool, work: Work) -> Setting:
        """One for all roles of the same model, head and work, which so share what is remembered of it."""
        model, head = self.scenario.model_of(role), head_of(role)
        workload = self.scenario.workload.part(work)
        for _, setting in self._settings.values():
            same = (setting.model, setting.head, setting.workload) == (model, head, workload)
            if setting.node_pool is node_pool and same:
                return setting
        return Setting(
            model=model,
            head=head,
            precision=self.scenario.precision,
            workload=workload,
            node_pool=node_pool,
            stack=self.scenario.stack,
        )

    def _corrections_of(self, node_pool: NodePool) -> Corrections:
        if id(node_pool) not in self._corrections:
            profiles = [profile for profile in self._profiles if profile.device.name == node_pool.device.name]
            fitted = Corrections.fit(profiles, lambda measured: self._modelled(measured, node_pool))
            self._corrections[id(node_pool)] = (node_pool, fitted)
        return self._corrections[id(node_pool)][1]

    def _modelled(self, measured: MeasuredCall, node_pool: NodePool) -> CallSeconds | None:
        """Of a measured call."""
        for call in self.graph.calls_of(measured.role):
            model = self.scenario.model_of(call.role)
            if model.name == measured.model and call.method == measured.method:
                setting = self.setting(call.role, node_pool)
                setting = replace(setting, workload=workload_of(measured, setting.workload))
                return _seconds(setting, call.kind, measured.strategy)
        return None


def _seconds(setting: Setting, kind: CallKind, strategy: RoleStrategy) -> CallSeconds:
    if kind == "train":
        return CallSeconds(training_seconds(setting, strategy))
    if kind == "infer":
        return CallSeconds(inference_seconds(setting, strategy))
    if kind == "send":
        return CallSeconds(send_seconds(setting, strategy))
    if kind == "receive":
        return CallSeconds(receive_seconds(setting, strategy))
    assert strategy.generate is not None, "a role that generates has a generation layout"
    return CallSeconds(generation_seconds(setting, strategy.generate), _sync_seconds(setting, strategy))


def _sync_seconds(setting: Setting, strategy: RoleStrategy) -> float:
    """Of the weight sync inside the pool; none where the weights live in the generation layout."""
    assert strategy.generate is not None, "a role that generates has a generation layout"
    if strategy.train is None and strategy.infer is None:
        return 0.0
    return reshard_seconds(setting, strategy.layout, strategy.generate, offload=strategy.offload)


def _generation_bytes(setting: Setting, strategy: RoleStrategy) -> dict[str, int]:
    """During a call that generates, beside what is persistent.

    Offloaded training weights come back for the sync, before the engine takes its cache and working set; or
    for the whole call, where it generates with them.
    """
    assert strategy.generate is not None, "a role that generates has a generation layout"
    kinds = generation_bytes(setting, strategy.generate)
    weights = kinds.pop("generation_weights")
    if strategy.train is None and strategy.infer is None:
        return kinds
    back = training_shard_bytes(setting, strategy.layout) if strategy.offload == "all" else 0
    if setting.stack.generation.resharding == "none":
        return {**kinds, "parameters": back} if back else kinds
    if back > sum(kinds.values()):
        return {"generation_weights": weights, "parameters": back}
    return {"generation_weights": weights, **kinds}


def _generation_of(layout: ParallelStrategy) -> GenerationStrategy:
    return GenerationStrategy(
        pipeline=layout.pipeline, tensor=layout.tensor, replicas=layout.data, max_sequences=1
    )
