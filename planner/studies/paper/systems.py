"""The systems that HybridFlow was compared with (EuroSys'25, sections 2.3, 8.1 and table 1).

Each is what it can do: its engines, its placement and its layouts, as demands on a scenario. Whatever these
leave open is chosen as for HybridFlow itself, by the same costs, so that each system is shown at its best.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from planner.algorithms import asynchronous, rescored
from planner.costs import CostModel
from planner.domain.catalog import read_generation_stack, read_training_stack
from planner.domain.dataflow import ACTOR, GENERATOR, DataflowGraph
from planner.domain.pins import PinKey, Pins
from planner.domain.placement import Placement
from planner.domain.plan import Plan
from planner.domain.scenario import Scenario
from planner.domain.stack import Stack
from planner.errors import InfeasibleError
from planner.search import solve
from planner.studies.paper.published import MODELS, TRAINING_PIPELINE, TRAINING_TENSOR
from planner.studies.paper.questions import pinned, placed
from planner.studies.planning import dataflow

System = Literal["hybridflow", "deepspeed-chat", "openrlhf", "nemo-aligner"]
Setup = Literal["best", "shipped"]
"""A system at its best, or as its authors' public scripts set it up."""

NAMES: Mapping[System, str] = MappingProxyType(
    {
        "hybridflow": "HybridFlow",
        "deepspeed-chat": "DeepSpeed-Chat",
        "openrlhf": "OpenRLHF",
        "nemo-aligner": "NeMo-Aligner",
    }
)
BASELINES: tuple[System, ...] = ("deepspeed-chat", "openrlhf", "nemo-aligner")
SETUPS: tuple[Setup, ...] = ("best", "shipped")

ENGINES: Mapping[System, tuple[str, str]] = MappingProxyType(
    {
        "hybridflow": ("megatron-core-0.6", "vllm-0.3.1-spmd"),
        "deepspeed-chat": ("deepspeed-zero3", "deepspeed-chat"),
        "openrlhf": ("deepspeed-zero3", "vllm-0.3.1-openrlhf"),
        "nemo-aligner": ("nemo", "nemo-aligner"),
    }
)
"""Training and serving engine of each, files in ``profiles/stacks``."""

SHIPPED: Mapping[System, Mapping[str, int | bool]] = MappingProxyType(
    {
        "deepspeed-chat": {"device_sequences": 1},
        "openrlhf": {"max_sequences": 16},
        "nemo-aligner": {"max_sequences": 8, "keeps_cache": True},
    }
)
"""Batches that the systems' own scripts generate in, as fields of their serving engines.

DeepSpeed-Chat: ``per_device_generation_batch_size 1`` of its only script for Llama 2
(microsoft/DeepSpeedExamples @1ac64496, run_llama2_7b.sh; 16 by default). OpenRLHF: ``micro_rollout_batch_size
16`` of its script of HybridFlow's very workload, 1,024 prompts of 1,024 + 1,024 tokens in 8 updates
(train_ppo_llama_ray.sh before packing; 8 by default, 32 in later versions). NeMo-Aligner:
``rollout_micro_batch_size: 8`` (NVIDIA/NeMo-Aligner @003b655f, gpt_ppo_actor.yaml), through NeMo's
generation, which does keep keys and values (NVIDIA/NeMo @00780235, text_generation_strategy.py).
"""

SHARDED = frozenset[System]({"deepspeed-chat", "openrlhf"})
"""Those that train and infer under ZeRO-3 alone, p = t = 1."""

_POLICY = (ACTOR, "reference")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A scenario and a dataflow as a system has them."""

    scenario: Scenario
    graph: DataflowGraph


def system_plan(system: System, scenario: Scenario, setup: Setup = "best") -> Plan | None:
    """The best plan that a system can run, or none where it cannot run the algorithm or nothing fits."""
    plans = (_planned(question) for question in questions_of(system, scenario, setup))
    return next((plan for plan in plans if plan is not None), None)


def questions_of(system: System, scenario: Scenario, setup: Setup = "best") -> Iterator[Question]:
    """What to plan for a system, each where the one before has no plan.

    None where it does not have the algorithm: NeMo-Aligner has no ReMax.
    """
    graph = dataflow(scenario)
    if system == "hybridflow":
        yield Question(scenario=scenario, graph=graph)
        return
    if system == "nemo-aligner" and graph.name == "remax":
        return
    graph = rescored(graph)
    if system == "openrlhf":
        graph = asynchronous(graph, 0)
    limited = _limited(system, scenario, graph, SHIPPED[system] if setup == "shipped" else {})
    placed_there = placed(limited, placement_of(system, graph.roles))
    for pins in _layouts(system, scenario, setup):
        yield Question(scenario=pinned(placed_there, pins), graph=graph)


def _planned(question: Question) -> Plan | None:
    costs = CostModel(question.scenario, question.graph)
    try:
        return solve(question.scenario, question.graph, costs, runners_up=0).plan
    except InfeasibleError:
        return None


def placement_of(system: System, roles: Sequence[str]) -> Placement:
    """Who shares devices (HybridFlow, table 1): all, none, or the policy and its reference."""
    if system == "deepspeed-chat":
        return (tuple(roles),)
    if system == "openrlhf":
        return tuple((role,) for role in roles)
    return (_POLICY, tuple(role for role in roles if role not in _POLICY))


def _limited(
    system: System, scenario: Scenario, graph: DataflowGraph, serving: Mapping[str, int | bool]
) -> Scenario:
    """The scenario with a system's engines, in the layouts that they know."""
    training, generation = ENGINES[system]
    engine = read_generation_stack(generation).model_copy(update=dict(serving))
    stack = Stack(training=read_training_stack(training), generation=engine)
    pins = dict(scenario.pin.root)
    if system in SHARDED:
        pins |= _sharded_pins(graph)
    if engine.resharding == "none":
        pins.pop(PinKey(ACTOR, "generate", "pipeline"), None)
    return scenario.model_copy(update={"stack": stack, "pin": Pins.model_validate(pins)})


def _sharded_pins(graph: DataflowGraph) -> dict[PinKey, int | str]:
    phases = {role: "train" if role in graph.trained_roles else "infer" for role in graph.roles}
    return {
        PinKey(role, phase, size): 1
        for role, phase in phases.items()
        for size in ("pipeline", "tensor")
        if role != GENERATOR
    }


def _layouts(system: System, scenario: Scenario, setup: Setup) -> Iterator[dict[PinKey, int]]:
    """Pins of the actor's layout, to be tried one after the other; none where it is free.

    NeMo-Aligner as shipped has that of the paper's actors (captions of figure 14), stages and then tensor
    ranks halved where it does not fit beside the other pool.
    """
    if (system, setup) != ("nemo-aligner", "shipped"):
        yield {}
        return
    most = TRAINING_PIPELINE[MODELS[scenario.model_of(ACTOR).name]]
    for tensor in (8, 4, 2, 1):
        for pipeline in (8, 4, 2, 1):
            leaves_room = tensor * pipeline < scenario.cluster.devices
            if pipeline <= most and leaves_room and (tensor == TRAINING_TENSOR or pipeline == 1):
                yield {PinKey(ACTOR, "train", "pipeline"): pipeline, PinKey(ACTOR, "train", "tensor"): tensor}
