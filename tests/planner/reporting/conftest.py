"""A simulation that a person can check: PPO on two pools of eight devices, ten seconds an iteration."""

from collections.abc import Callable

import pytest

from planner.domain.generated import GenerationReport, Moment
from planner.domain.plan import Plan, Pool, Prediction, Proof, RoleMemory
from planner.domain.reading import read_scenario
from planner.domain.simulated import Idle, JobReport, Simulation, Stretch
from planner.domain.timeline import Span, Timeline
from planner.units import GIB

SPANS = (
    ("pool-0", "actor", "actor.generate/reshard", "reshard", 0.0, 1.0),
    ("pool-0", "actor", "actor.generate", "generate", 1.0, 5.0),
    ("pool-0", "reference", "reference.logprobs", "infer", 5.0, 6.0),
    ("pool-1", "critic", "critic.values", "infer", 5.0, 7.0),
    ("pool-0", "actor", "actor.update", "train", 7.0, 10.0),
    ("pool-1", "critic", "critic.update", "train", 7.0, 9.0),
)
"""Of one iteration."""


def memory_of(persistent: float, **transient: dict[str, float]) -> RoleMemory:
    """Of GiB; calls are written with an underscore for the dot."""
    return RoleMemory(
        persistent={"parameters": int(persistent * GIB)},
        transient={
            call.replace("_", "."): {kind: int(amount * GIB) for kind, amount in kinds.items()}
            for call, kinds in transient.items()
        },
    )


MEMORY = {
    "actor": memory_of(
        20, actor_generate={"generation_weights": 4, "kv_cache": 40}, actor_update={"activations": 30}
    ),
    "reference": memory_of(10, reference_logprobs={"logits": 2}),
    "critic": memory_of(5, critic_values={"activations": 1}, critic_update={"activations": 3, "exchange": 1}),
}


@pytest.fixture(scope="session")
def two_pools() -> Plan:
    """Actor and reference share eight devices, the critic has eight; usable are 76 GiB of each."""
    pools = (
        Pool(
            name="pool-0",
            node_pool="a100",
            devices=8,
            roles=("actor", "reference"),
            order=("actor.generate", "reference.logprobs", "actor.update"),
        ),
        Pool(
            name="pool-1",
            node_pool="a100",
            devices=8,
            roles=("critic",),
            order=("critic.values", "critic.update"),
        ),
    )
    prediction = Prediction(
        calls={}, memory=MEMORY, iteration_seconds=8.0, stage_cost_seconds=8.0, tokens_per_second=1000.0
    )
    proof = Proof(solver="cpsat", status="optimal", time_model="period", objective=8.0, bound=8.0)
    return Plan(
        scenario=read_scenario("scenarios/paper/ppo-7b-16.yaml"),
        pools=pools,
        strategies={},
        prediction=prediction,
        proof=proof,
    )


def span_of(pool: str, role: str, call: str, kind: str, start_s: float, end_s: float, iteration: int) -> Span:
    return Span.model_validate(
        {
            "pool": pool,
            "role": role,
            "call": call,
            "kind": kind,
            "iteration": iteration,
            "start_s": start_s + 10 * iteration,
            "end_s": end_s + 10 * iteration,
        }
    )


def generation_of(iteration: int) -> GenerationReport:
    """Four seconds on two replicas; the cache fills to a half, then a quarter."""
    curve = ((100.0, 8.0, 0.25), (200.0, 8.0, 0.5), (100.0, 4.0, 0.5), (50.0, 2.0, 0.25))
    return GenerationReport(
        call="actor.generate",
        iteration=iteration,
        seconds=4.0,
        responses=16,
        response_tokens=450,
        read_tokens=100,
        tail={"50": 2.0, "90": 3.5, "99": 4.0, "100": 4.0},
        longest_tokens=77,
        preemptions=0,
        waves=1,
        replicas=2,
        max_sequences=8,
        carried=0,
        idle_device_seconds={"tail": 1.0, "tools": 0.0},
        curve=tuple(
            Moment(
                start_s=float(index),
                end_s=index + 1.0,
                tokens_per_second=tokens,
                running=running,
                cache_share=share,
            )
            for index, (tokens, running, share) in enumerate(curve)
        ),
    )


@pytest.fixture(scope="session")
def simulated() -> Callable[[int], Simulation]:
    """So many iterations, of which one takes ten seconds; planned are eight."""

    def build(iterations: int) -> Simulation:
        spans = [span_of(*fields, iteration) for iteration in range(iterations) for fields in SPANS]
        return Simulation(
            timeline=Timeline(origin="predicted", spans=tuple(sorted(spans, key=lambda span: span.start_s))),
            iterations=iterations,
            iteration_seconds=10.0,
            tokens_per_second=800.0,
            predicted_seconds=8.0,
            generation=tuple(map(generation_of, range(iterations))),
            idle=(
                Idle(
                    pool="pool-0",
                    devices=8,
                    device_seconds=80.0 * iterations,
                    busy=60.0 * iterations,
                    idle={"inputs": 16.0 * iterations, "tail": 4.0 * iterations},
                ),
                Idle(
                    pool="pool-1",
                    devices=8,
                    device_seconds=80.0 * iterations,
                    busy=32.0 * iterations,
                    idle={"inputs": 48.0 * iterations, "tail": 0.0},
                ),
            ),
            dollars_per_million_tokens=2.5,
        )

    return build


@pytest.fixture(scope="session")
def job() -> JobReport:
    """A hundred hours, a tenth of which is lost."""
    return JobReport(
        iterations=36_000,
        seconds=360_000.0,
        iteration_seconds=9.0,
        device_hours=1600.0,
        dollars=4000.0,
        tokens=2.88e8,
        goodput=0.9,
        parts={"training": 324_000.0, "checkpoints": 3600.0, "lost": 32_200.0, "restarts": 200.0},
        failures=2.5,
        checkpoint_every=50,
        best_checkpoint_every=20,
        stretches=(
            Stretch(iteration=0, seconds=8.0, response_tokens=500.0),
            Stretch(iteration=18_000, seconds=9.0, response_tokens=600.0),
            Stretch(iteration=35_999, seconds=10.0, response_tokens=700.0),
        ),
    )
