"""The cost model of one scenario: seconds of a call and bytes of a role, in any layout on any node pool."""

from collections.abc import Sequence
from dataclasses import replace

from planner.costs.arrays.foresight import Foresight, key_of
from planner.costs.corrections import Corrections, workload_of
from planner.costs.memory.memory import generation_bytes, inference_bytes, persistent_bytes, training_bytes
from planner.costs.passes.inference import inference_seconds
from planner.costs.passes.training import training_seconds
from planner.costs.serving.generation import generation_seconds
from planner.costs.setting import Setting
from planner.costs.sync.transition import reshard_seconds
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
        same device are corrected by the factor of their measured call, or else of their kind.
    """

    def __init__(self, scenario: Scenario, graph: DataflowGraph, *, profiles: Sequence[Profile] = ()) -> None:
        self.scenario = scenario
        self.graph = graph
        self._profiles = tuple(profiles)
        self._settings: dict[tuple[str, int, Work], tuple[NodePool, Setting]] = {}
        self._corrections: dict[int, tuple[NodePool, Corrections]] = {}
        self._foresights: dict[int, Foresight] = {}
        self._generations: dict[tuple[str, int, Work, GenerationStrategy], float] = {}

    def foresee(self, role: str, strategies: Sequence[RoleStrategy], node_pool: NodePool) -> None:
        """Predict the role's updates and forward passes in all of these strategies at once.

        Whoever asks for any of them later gets these answers.
        """
        known = [strategy for strategy in strategies if key_of("infer", strategy)]
        for kind, work in dict.fromkeys((call.kind, call.work) for call in self.graph.calls_of(role)):
            setting = self.setting(role, node_pool, work)
            foresight = self._foresight(setting)
            if known and kind == "train":
                foresight.train(setting, known)
            new = {key: each for each in known if (key := key_of("infer", each)) not in foresight.seconds}
            if new and kind == "infer":
                foresight.infer(setting, list(new.values()))

    def call(self, call: ModelCall, strategy: RoleStrategy, node_pool: NodePool) -> CallPrediction:
        """Seconds of one whole call of one iteration: all samples, and all epochs of an update.

        A generate call includes the weight sync before it.
        """
        setting = self.setting(call.role, node_pool, call.work)
        corrections = self._corrections_of(node_pool) if self._profiles else None
        measured = corrections and corrections.find(call, strategy, setting.model, setting.workload)
        if measured:
            return CallPrediction(
                seconds=measured.seconds, reshard_seconds=measured.reshard_seconds, origin="measured"
            )
        seconds, reshard = self.modelled_seconds(call, strategy, node_pool)
        factor = corrections.factor(call) if corrections else None
        if factor is not None:
            return CallPrediction(seconds=factor * seconds, reshard_seconds=factor * reshard, origin="scaled")
        return CallPrediction(seconds=seconds, reshard_seconds=reshard, origin="modelled")

    def modelled_seconds(
        self, call: ModelCall, strategy: RoleStrategy, node_pool: NodePool
    ) -> tuple[float, float]:
        """(seconds of the call, those of them that are the weight sync's), from the device's rates alone."""
        setting = self.setting(call.role, node_pool, call.work)
        if call.kind != "generate":
            known = self._foresight(setting).seconds.get(key_of(call.kind, strategy))
            return (_seconds(setting, call.kind, strategy) if known is None else known), 0.0
        assert strategy.generate is not None, "a role that generates has a generation layout"
        key = (call.role, id(node_pool), call.work, strategy.generate)
        if key not in self._generations:
            self._generations[key] = generation_seconds(setting, strategy.generate)
        reshard = reshard_seconds(setting, strategy.layout, strategy.generate, offload=strategy.offload)
        return self._generations[key] + reshard, reshard

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
        )

    def persistent_bytes(
        self, role: str, layout: ParallelStrategy, node_pool: NodePool, *, offload: Offload = "none"
    ) -> dict[str, int]:
        """Bytes of the role during the whole iteration, by kind."""
        is_trained = role in self.graph.trained_roles
        works = [call.work for call in self.graph.calls_of(role) if call.kind in ("train", "infer")]
        setting = self.setting(role, node_pool, *works[:1])
        known = None if offload != "none" else self._foresight(setting).persistent.get((layout, is_trained))
        return known or persistent_bytes(setting, layout, is_trained=is_trained, offload=offload)

    def transient_bytes(self, call: ModelCall, strategy: RoleStrategy, node_pool: NodePool) -> dict[str, int]:
        """Bytes beside those during one call, by kind."""
        setting = self.setting(call.role, node_pool, call.work)
        known = self._foresight(setting).transient.get(key_of(call.kind, strategy))
        if known is not None:
            return known
        if call.kind == "train":
            return training_bytes(setting, strategy)
        if call.kind == "infer":
            return inference_bytes(setting, strategy)
        assert strategy.generate is not None, "a role that generates has a generation layout"
        return generation_bytes(setting, strategy.generate)

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

    def _foresight(self, setting: Setting) -> Foresight:
        if id(setting) not in self._foresights:
            self._foresights[id(setting)] = Foresight()
        return self._foresights[id(setting)]

    def _corrections_of(self, node_pool: NodePool) -> Corrections:
        if id(node_pool) not in self._corrections:
            profiles = [profile for profile in self._profiles if profile.device.name == node_pool.device.name]
            fitted = Corrections.fit(profiles, lambda measured: self._modelled(measured, node_pool))
            self._corrections[id(node_pool)] = (node_pool, fitted)
        return self._corrections[id(node_pool)][1]

    def _modelled(self, measured: MeasuredCall, node_pool: NodePool) -> float | None:
        """Modelled seconds of a measured call."""
        for call in self.graph.calls_of(measured.role):
            model = self.scenario.model_of(call.role)
            if model.name == measured.model and call.method == measured.method:
                setting = self.setting(call.role, node_pool)
                setting = replace(setting, workload=workload_of(measured, setting.workload))
                return _seconds(setting, call.kind, measured.strategy)
        return None


def _seconds(setting: Setting, kind: CallKind, strategy: RoleStrategy) -> float:
    if kind == "train":
        return training_seconds(setting, strategy)
    if kind == "infer":
        return inference_seconds(setting, strategy)
    assert strategy.generate is not None, "a role that generates has a generation layout"
    reshard = reshard_seconds(setting, strategy.layout, strategy.generate, offload=strategy.offload)
    return generation_seconds(setting, strategy.generate) + reshard
