"""Prompts under way in a checkpoint: a plan in which another role generates goes on with them."""

import pytest

from planner.domain.dataflow import ACTOR, GENERATOR
from planner.domain.parallelism import GenerationStrategy
from planner.domain.reading import write_plan
from planner.errors import SpecError
from runtime.checkpoint import finished_iterations, load_checkpoint, save_checkpoint
from runtime.requirements import carried_prompts
from runtime.workers.actor import ActorWorker
from runtime.workers.call import Answer, Call
from runtime.workers.generator import GeneratorWorker
from tests.runtime.plans import asynchronous_plan
from tests.runtime.workers.rollouts import FakeEngine, calls_of, sampler_of


def on_its_own(replicas):
    """A plan with a generator."""
    return asynchronous_plan(generator=replicas, carry=0.5)


def beside_training(replicas):
    """The same scenario, where the actor generates."""
    plan = on_its_own(1)
    actor = plan.strategies[ACTOR].model_copy(
        update={"generate": GenerationStrategy(replicas=replicas, max_sequences=16)}
    )
    strategies = {role: strategy for role, strategy in plan.strategies.items() if role != GENERATOR}
    return plan.model_copy(update={"strategies": strategies | {ACTOR: actor}, "pools": plan.pools[1:]})


class Nothing:
    """An engine or a role that keeps no state."""

    def save_state(self, *given, **options):
        return Answer()

    load_state = save_state


class FakeController:
    """Roles in this process, with all replicas of the one that generates."""

    def __init__(self, plan):
        self.plan, self.generating = plan, GENERATOR if GENERATOR in plan.strategies else ACTOR
        replicas = plan.strategies[self.generating].generate.replicas
        engines = [FakeEngine(replica, replicas) for replica in range(replicas)]
        self.samplers = [sampler_of(engine, plan.scenario.workload, limit=1) for engine in engines]

    def ask(self, role, method, **options):
        call = Call(
            name=f"{role}.{method}", role=role, method=method, iteration=-1, rows=((),), options=options
        )
        workers = [Nothing()]
        if role == self.generating:
            workers = [self._worker(sampler) for sampler in self.samplers]
        elif role == ACTOR:
            workers = [actor_with(None)]
        return [getattr(worker, method)(call, {}) for worker in workers]

    def sync(self):
        pass

    def iterate(self, iteration):
        """Numbers of the prompts that an iteration takes."""
        scenario = self.plan.scenario
        calls = calls_of(
            scenario.workload, iteration, replicas=len(self.samplers), extra=carried_prompts(scenario)
        )
        return {
            int(number)
            for sampler, (call, fields) in zip(self.samplers, calls, strict=True)
            for number in sampler.respond(call, fields, version=iteration).fields["prompt_ids"]
        }

    def _worker(self, sampler):
        if self.generating == ACTOR:
            return actor_with(sampler)
        return GeneratorWorker(None, sampler, staleness=1, logprob_tolerance=1.0)


def actor_with(sampler):
    return ActorWorker(
        Nothing(),
        generator=None,
        sampler=sampler,
        loss=None,
        logprob_tolerance=1.0,
        epochs=1,
        size=None,
        maximum_tokens=1,
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (on_its_own(2), beside_training(1)),
        (beside_training(1), on_its_own(2)),
        (on_its_own(1), on_its_own(2)),
        (beside_training(2), beside_training(2)),
    ],
    ids=["generator to actor", "actor to generator", "more replicas", "the same"],
)
def test_prompts_under_way_go_on_in_a_plan_in_which_another_role_generates(tmp_path, before, after):
    write_plan(before, tmp_path / "plan.json")
    first, second = FakeController(before), FakeController(after)
    prompts, carried = before.scenario.workload.prompts, carried_prompts(before.scenario)
    taken = first.iterate(0)
    save_checkpoint(first, before, tmp_path, iterations=1)
    assert finished_iterations(after, tmp_path) == 1
    load_checkpoint(second, after, tmp_path)
    left = set(range(prompts + carried)) - taken
    assert len(left) == carried == 4
    assert left < second.iterate(1), "what was begun first is taken first, and after one iteration waited for"


def test_a_checkpoint_that_lacks_prompts_under_way_is_refused(tmp_path):
    plan = on_its_own(2)
    write_plan(plan, tmp_path / "plan.json")
    controller = FakeController(plan)
    controller.iterate(0)
    save_checkpoint(controller, plan, tmp_path, iterations=1)
    (file, _) = sorted((tmp_path / "checkpoints").rglob("replica-*.json"))
    file.unlink()
    with pytest.raises(SpecError, match=r"under-way: holds 2 prompts under way, 4 are carried on"):
        finished_iterations(plan, tmp_path)
