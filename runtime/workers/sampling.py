"""Responses of a generation engine as rows of a batch."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from planner.domain.text import dump_json, write_text
from runtime.engines.requests import Request, Response, Sampling
from runtime.engines.vllm import GenerationEngine
from runtime.transfer import split_rows
from runtime.workers.call import Answer, Call
from runtime.workers.carried import UnderWay, is_enough, taken
from runtime.workers.responses import response_rows, sample_seed


class Sampler:
    """Responds to prompts with the weights that the engine has.

    Parameters
    ----------
    sampling
        How responses are drawn, greedy ones apart.
    samples_per_prompt
        Consecutive rows of one prompt.
    carry_limit
        Iterations after which a prompt that was carried on is waited for; None where none is.
    """

    def __init__(
        self,
        engine: GenerationEngine,
        sampling: Sampling,
        *,
        seed: int,
        samples_per_prompt: int,
        carry_limit: int | None = None,
    ) -> None:
        self._engine, self._sampling, self._seed = engine, sampling, seed
        self._samples_per_prompt, self._carry_limit = samples_per_prompt, carry_limit
        self._under_way: list[UnderWay] = []

    def respond(self, call: Call, fields: Mapping[str, Any], *, version: int) -> Answer:
        """Respond to this rank's prompts, or to as many as are wanted of those under way.

        What is sampled for a prompt depends on the seed, its iteration and its sample alone, and on the
        weights.

        Parameters
        ----------
        version
            Updates of the weights so far.
        """
        if self._carry_limit is None or call.iteration < 0:
            return self._respond_to_all(call, fields)
        begun = self._begun(call, fields, version)
        groups = self._taken([*self._under_way, *begun], call)
        prompts = [one.prompt for one in groups for _ in one.requests]
        oldest = min((one.version for one in groups), default=version)
        numbers = [one.prompt_id for one in groups for _ in one.requests]
        responses = [request.done for one in groups for request in one.requests]
        return _answer(
            prompts,
            responses,
            np.array(numbers, dtype=np.int64),
            {
                "staleness/tokens/max": float(call.iteration - oldest),
                "staleness/carried_prompts": float(len(self._under_way)),
            },
        )

    def save(self, folder: str) -> None:
        """Write what is under way on this replica."""
        if self._engine.shard == 0:
            state = [one.as_dict() for one in self._under_way]
            write_text(Path(folder) / f"replica-{self._engine.replica:04d}.json", dump_json(state))

    def load(self, folder: str) -> None:
        """Go on with what was under way on this replica, or with its share where there were others."""
        files = sorted(Path(folder).glob("replica-*.json"))
        of_replicas = [[UnderWay.from_dict(one) for one in json.loads(file.read_text())] for file in files]
        replica, replicas = self._engine.replica, self._engine.generation.replicas
        if len(of_replicas) == replicas:
            self._under_way = of_replicas[replica]
            return
        state = [one for part in of_replicas for one in part]
        self._under_way = [state[row] for row in split_rows(len(state), replicas)[replica]]

    def _respond_to_all(self, call: Call, fields: Mapping[str, Any]) -> Answer:
        is_greedy = call.options.get("do_sample") is False
        prompts: Sequence[Sequence[int]] = fields["prompts"]
        responses = self._engine.generate(
            prompts,
            replace(self._sampling, temperature=0.0) if is_greedy else self._sampling,
            seeds=[sample_seed(self._seed, call.iteration, row) for row in call.rows[0]],
        )
        return _answer(prompts, responses, fields["prompt_ids"].numpy(), {})

    def _begun(self, call: Call, fields: Mapping[str, Any], version: int) -> list[UnderWay]:
        """The prompts of a call, not begun yet."""
        size, prompts = self._samples_per_prompt, fields["prompts"]
        first = call.iteration, self._engine.replica
        return [
            UnderWay(
                prompt_id=int(fields["prompt_ids"][start]),
                prompt=tuple(prompts[start]),
                started=call.iteration,
                version=version,
                requests=tuple(
                    Request(prompt=prompts[start], seed=sample_seed(self._seed, *first, start + place))
                    for place in range(size)
                ),
            )
            for start in range(0, len(prompts), size)
        ]

    def _taken(self, under_way: list[UnderWay], call: Call) -> list[UnderWay]:
        """Respond until enough prompts have all their samples; those that are not taken stay under way."""
        assert self._carry_limit is not None, "prompts are carried on"
        size, wanted = self._samples_per_prompt, len(call.rows[0]) // self._samples_per_prompt
        due = call.iteration - self._carry_limit
        requests = [request for one in under_way for request in one.requests]
        unfinished = [sum(not request.done.is_finished for request in one.requests) for one in under_way]
        rollout = self._engine.start(requests, self._sampling)
        while not is_enough(under_way, [not left for left in unfinished], wanted=wanted, due=due):
            for index in rollout.advance():
                unfinished[index // size] -= 1
        responses = rollout.interrupt()
        parts = [responses[start : start + size] for start in range(0, len(responses), size)]
        advanced = [one.advanced(part) for one, part in zip(under_way, parts, strict=True)]
        groups, self._under_way = taken(advanced, wanted=wanted)
        return groups


def _answer(
    prompts: Sequence[Sequence[int]],
    responses: Sequence[Response],
    prompt_ids: np.ndarray,
    metrics: Mapping[str, float],
) -> Answer:
    pairs = zip(prompts, responses, strict=True)
    return Answer(
        fields={**response_rows(prompts, responses), "prompt_ids": prompt_ids},
        metrics=metrics,
        lengths=tuple(len(prompt) + len(response.tokens) for prompt, response in pairs),
    )
