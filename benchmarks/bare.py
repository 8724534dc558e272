"""One iteration as a script without a controller makes it: the same engines, the same rows.

Every rank runs the same function, with the roles' engines at hand; rows stay in the process, and are gathered
among the ranks where a layout needs them whole. Nothing is submitted, scheduled or put into an object store.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from planner.domain.dataflow import CONTROLLER
from planner.domain.parallelism import coordinates, generation_shard
from planner.domain.plan import Plan
from runtime.batch import Piece
from runtime.engines.hybrid import probe, reshard
from runtime.rows import concatenate
from runtime.transfer import split_rows
from runtime.workers.build import pool_roles
from runtime.workers.call import Answer, Call, Role
from runtime.workers.inference import forward, last_tokens
from runtime.workers.prompts import light_roles
from runtime.workers.responses import response_rows, sample_seed
from runtime.workers.training import renamed, update

READ = ("tokens", "response_mask")
"""Fields that forward passes read."""


def roles_with_script(plan: Plan, names: Sequence[str], script: str) -> Mapping[str, Role]:
    """The roles of a pool, and on the same engines the script, as a role of the given name."""
    roles = pool_roles(plan, names)
    return {**roles, script: BareScript(plan, {**roles, **light_roles(plan)})}


class BareScript:
    """Iterations of PPO and GRPO on this rank's engines."""

    def __init__(self, plan: Plan, roles: Mapping[str, Role]) -> None:
        self._plan, self._roles = plan, roles
        self._parts: dict[str, tuple[float, float]] = {}

    def scores(self, call: Call, fields: Mapping[str, Any]) -> Answer:
        """Nothing: an empty call of a worker group."""
        return Answer(fields={"scores": np.zeros(len(call.rows[0]), dtype=np.float32)})

    def iterate(self, call: Call, fields: Mapping[str, Any]) -> Answer:
        """One iteration, of the number in the options; the clock times of its calls."""
        self._parts = {}
        dist.barrier()
        start_s = time.time()
        metrics = self._iteration(int(call.options["iteration"]))
        return Answer(metrics=metrics, parts={**self._parts, "iteration": (start_s, time.time())})

    def _iteration(self, iteration: int) -> dict[str, float]:
        with self._timed("actor.generate"):
            rows = self._generated(iteration)
        if "critic" in self._roles:
            with self._timed("critic.values"):
                rows["old_values"] = self._forward("critic", rows)[:, :-1].numpy()
        with self._timed("reference.logprobs"):
            rows["reference_logprobs"] = self._forward("reference", rows).numpy()
        with self._timed("reward.scores"):
            last = last_tokens(torch.from_numpy(rows["response_mask"]))
            rows["scores"] = self._forward("reward", rows).gather(1, last[:, None]).squeeze(1).numpy()
        fields = {name: torch.from_numpy(column) for name, column in rows.items()}
        with self._timed("controller.advantages"):
            estimated = self._roles[CONTROLLER].advantages(self._call(iteration), fields)
        fields |= {name: torch.from_numpy(column) for name, column in estimated.fields.items()}
        metrics: dict[str, float] = {}
        for role in ("critic", "actor"):
            if role in self._roles:
                with self._timed(f"{role}.update"):
                    metrics |= renamed(role, self._update(role, fields))
        return metrics

    def _generated(self, iteration: int) -> dict[str, np.ndarray]:
        """Tokens, response mask and log-probabilities of all samples, on every rank."""
        actor, samples = self._roles["actor"], self._plan.scenario.workload.samples
        reshard(actor._engine, actor._generator)
        probe(actor._engine, actor._generator)
        strategy, rank = self._plan.strategies["actor"], dist.get_rank()
        _, shard, replica = generation_shard(strategy.layout, strategy.generate, rank)
        rows = split_rows(samples, strategy.generate.replicas)[replica]
        prompts = self._roles["prompts"].prompts(self._call(iteration), {}).fields["prompts"]
        seed = self._plan.scenario.run.seed
        responses = actor._generator.generate(
            [prompts[row] for row in rows],
            actor._sampler._sampling,
            seeds=[sample_seed(seed, iteration, row) for row in rows],
        )
        parts = gathered(response_rows([prompts[row] for row in rows], responses) if shard == 0 else None)
        pieces = [Piece(index, tuple(range(len(part["tokens"])))) for index, part in enumerate(parts)]
        return {name: concatenate(pieces, [part[name] for part in parts]) for name in parts[0]}

    def _forward(self, role: str, rows: Mapping[str, np.ndarray]) -> torch.Tensor:
        """Outputs of a role's model for all samples, on every rank; each replica computes its part."""
        strategy = self._plan.strategies[role]
        place = coordinates(strategy.layout, dist.get_rank())
        own = split_rows(len(rows["tokens"]), strategy.layout.data)[place.data]
        outputs = forward(
            self._roles[role]._engine,
            {
                name: torch.from_numpy(rows[name][own.start : own.stop])
                for name in ("tokens", "response_mask")
            },
            self._roles[role]._size,
        )
        if strategy.layout.data == strategy.layout.pipeline == 1:
            return outputs
        answers = outputs is not None and place.tensor == 0
        return torch.cat(gathered(outputs if answers else None))

    def _update(self, role: str, fields: Mapping[str, torch.Tensor]) -> dict[str, float]:
        """All optimizer steps; each replica takes its part of every mini-batch."""
        workload, strategy = self._plan.scenario.workload, self._plan.strategies[role]
        place = coordinates(strategy.layout, dist.get_rank()).data
        rows = []
        for batch in split_rows(workload.samples, workload.mini_batches):
            own = split_rows(len(batch), strategy.layout.data)[place]
            rows.append(range(batch.start + own.start, batch.start + own.stop))
        chosen = [row for part in rows for row in part]
        return update(
            self._roles[role]._engine,
            Call(name="", role=role, method="update", iteration=0, rows=tuple(rows)),
            {name: column[chosen] for name, column in fields.items()},
            epochs=workload.epochs,
            size=self._roles[role]._size,
            loss=self._roles[role]._loss,
        )

    def _call(self, iteration: int) -> Call:
        """What the roles without engines ask for: a number and all rows."""
        samples = range(self._plan.scenario.workload.samples)
        estimator = "gae" if "critic" in self._roles else "grpo"
        options = {"estimator": estimator}
        return Call(name="", role="", method="", iteration=iteration, rows=(samples,), options=options)

    @contextmanager
    def _timed(self, call: str) -> Iterator[None]:
        start_s = time.time()
        yield
        self._parts[call] = (start_s, time.time())


def gathered(part: Any) -> list[Any]:
    """The parts of all ranks that have one, in their order."""
    parts: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(parts, part)
    return [each for each in parts if each is not None]
