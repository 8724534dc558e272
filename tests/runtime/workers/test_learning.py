"""Every algorithm teaches a policy small enough to be trained in a second: its score rises."""

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter

from planner.algorithms import ALGORITHMS, algorithm_of
from planner.domain.algorithm import AlgorithmOptions, SafeRlhfOptions
from planner.domain.lengths import TokenLengths
from planner.domain.workload import Workload
from runtime.losses import mini_batch_counts
from runtime.workers.call import Call
from runtime.workers.numeric import Estimator
from runtime.workers.objectives import policy_objective, value_objective
from runtime.workers.training import Counts

OPTIONS: TypeAdapter[Any] = TypeAdapter(AlgorithmOptions)
END, GOOD, COSTLY, VOCABULARY, LONGEST, PROMPTS, SAMPLES, ITERATIONS = 0, 3, 4, 5, 5, 16, 4, 25


@dataclass
class Batch:
    """Fields of the samples; the result of a call has those of its input as well."""

    fields: dict[str, torch.Tensor]

    def __or__(self, other: "Batch") -> "Batch":
        return Batch({**self.fields, **other.fields})

    def only(self, *names: str) -> "Batch":
        return Batch({name: self.fields[name] for name in names})


@dataclass
class Roles:
    """All roles of all algorithms: a table of logits for each position, a table of values, and rules."""

    options: Any
    seed: int
    scores_seen: list[float] = field(default_factory=list)
    costs_seen: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.generator = torch.Generator().manual_seed(self.seed)
        self.workload = Workload(
            prompts=PROMPTS,
            samples_per_prompt=SAMPLES,
            prompt_tokens=TokenLengths(mean=1, maximum=1),
            response_tokens=TokenLengths(mean=3, maximum=LONGEST),
        )
        self.logits = (0.1 * torch.randn(LONGEST, VOCABULARY, generator=self.generator)).requires_grad_()
        self.start = self.logits.detach().clone()
        self.noise = 0.3 * torch.randn(LONGEST, VOCABULARY, generator=self.generator)
        self.table = torch.zeros(LONGEST, requires_grad=True)
        self.optimizers = [torch.optim.Adam([each], lr=0.05) for each in (self.logits, self.table)]
        self.estimator = Estimator(self.options, self.workload)
        self.actor = self.critic = self.reference = self.reward = self.cost = self.controller = self
        self.iteration = 0

    def generate(self, batch: Batch, do_sample: bool = True, resample: bool = False) -> Batch:
        """Sample by an engine that computes a little otherwise, if a correction is to be tried."""
        logits = self.logits.detach() + (0 if self.options.correction is None else self.noise)
        drawn = torch.multinomial(
            logits.softmax(-1), PROMPTS * SAMPLES, replacement=True, generator=self.generator
        ).T
        tokens = drawn if do_sample else logits.argmax(-1).expand_as(drawn)
        ended = ((tokens == END).cumsum(1) - (tokens == END).int()) > 0
        mask = torch.nn.functional.pad(~ended, (1, 0))
        tokens = torch.nn.functional.pad(tokens, (1, 0))
        old = self.logprobs_of(logits, tokens)
        return Batch({"tokens": tokens, "response_mask": mask, "old_logprobs": old})

    @staticmethod
    def logprobs_of(logits: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        every = logits.log_softmax(-1).expand(len(tokens), -1, -1)
        return every.gather(2, tokens[:, 1:, None]).squeeze(2)

    def proximal_logprobs(self, batch: Batch) -> Batch:
        return batch | Batch(
            {"proximal_logprobs": self.logprobs_of(self.logits.detach(), batch.fields["tokens"])}
        )

    def logprobs(self, batch: Batch) -> Batch:
        return batch | Batch({"reference_logprobs": self.logprobs_of(self.start, batch.fields["tokens"])})

    def values(self, batch: Batch) -> Batch:
        return batch | Batch({"old_values": self.table.detach().expand(len(batch.fields["tokens"]), -1)})

    def counted(self, batch: Batch, token: int) -> torch.Tensor:
        """Number of a token in each response, over the greatest there may be."""
        found = (batch.fields["tokens"] == token) & batch.fields["response_mask"]
        return found.sum(1) / LONGEST

    def scores(self, batch: Batch) -> Batch:
        scores = self.counted(batch, GOOD) + self.counted(batch, COSTLY)
        self.scores_seen.append(float(scores.mean()))
        return batch | Batch({"scores": scores})

    def baselines(self, batch: Batch) -> Batch:
        return batch | Batch({"baselines": self.counted(batch, GOOD) + self.counted(batch, COSTLY)})

    def costs(self, batch: Batch) -> Batch:
        costs = self.counted(batch, COSTLY)
        self.costs_seen.append(float(costs.mean()))
        return batch | Batch({"costs": costs})

    def advantages(self, batch: Batch, estimator: str) -> Batch:
        call = Call(
            name="controller.advantages",
            role="controller",
            method="advantages",
            iteration=self.iteration,
            rows=(range(PROMPTS * SAMPLES),),
            options={"estimator": estimator},
        )
        answer = self.estimator.advantages(call, batch.fields)
        rows = list(range(PROMPTS * SAMPLES) if answer.kept is None else answer.kept)
        made = {name: torch.from_numpy(values) for name, values in answer.fields.items()}
        return Batch({name: values[rows] for name, values in (batch.fields | made).items()})

    def update(self, batch: Batch, loss: str, pretraining: bool = False) -> None:
        """Two mini-batches, each of two micro-batches; the safe actor's has pretraining data beside them."""
        of_critic = loss == "value"
        optimizer = self.optimizers[of_critic]
        make = value_objective if of_critic else policy_objective
        objective = make(self.options, longest_response=LONGEST)
        for rows in torch.arange(len(batch.fields["tokens"])).chunk(2):
            part = {name: values[rows] for name, values in batch.fields.items()}
            counts = Counts(*mini_batch_counts(part["response_mask"][:, 1:]), pretraining_tokens=LONGEST)
            optimizer.zero_grad()
            for piece in torch.arange(len(rows)).chunk(2):
                micro = {name: values[piece] for name, values in part.items()}
                objective(self.output(of_critic, micro["tokens"]), micro, counts)[0].backward()
            if pretraining:
                text = torch.full((1, LONGEST + 1), GOOD)
                known = {"pretraining_mask": torch.ones(1, LONGEST + 1, dtype=torch.bool)}
                objective(self.output(False, text), known, counts)[0].backward()
            optimizer.step()

    def output(self, of_critic: bool, tokens: torch.Tensor) -> torch.Tensor:
        if not of_critic:
            return self.logprobs_of(self.logits, tokens)
        return torch.nn.functional.pad(self.table, (0, 1)).expand(len(tokens), -1)


def trained(seed: int, **keys: Any) -> Roles:
    options = OPTIONS.validate_python(keys)
    roles = Roles(options, seed)
    for roles.iteration in range(ITERATIONS):
        algorithm_of(options)(roles, Batch({}))
    return roles


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("keys", [{}, {"correction": {"normalise": True}}], ids=["plain", "corrected"])
@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_score_rises(name: str, keys: dict[str, Any], seed: int) -> None:
    safe = {"multiplier": 0.01, "multiplier_learning_rate": 0.0, "pretraining_coefficient": 0.0}
    scores = trained(seed, name=name, **keys, **(safe if name == "safe_rlhf" else {})).scores_seen
    assert scores[0] < 0.45
    assert sum(scores[-3:]) / 3 > scores[0] + 0.2


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_cost_that_is_too_high_makes_a_policy_safe(seed: int) -> None:
    """Two tokens score alike and one of them costs: under a multiplier the other one is learnt."""
    keys: dict[str, Any] = {"name": "safe_rlhf", "pretraining_coefficient": 0.0, "cost_window": 64}
    free = trained(seed, **keys, cost_threshold=1.0, multiplier=0.01)
    bound = trained(seed, **keys, cost_threshold=0.0, multiplier_learning_rate=1.0)
    assert free.options != bound.options
    assert bound.costs_seen[-1] < 0.5 * bound.costs_seen[0] < free.costs_seen[-1]
    assert bound.scores_seen[-1] > bound.scores_seen[0]
    assert isinstance(bound.options, SafeRlhfOptions)


def test_pretraining_data_are_learnt() -> None:
    """Without anything to gain from scores, the token of the pretraining data becomes likely."""
    roles = trained(0, name="safe_rlhf", multiplier_learning_rate=0.0, pretraining_coefficient=16.0)
    assert roles.logits.softmax(-1)[:, GOOD].min() > 0.6 > roles.start.softmax(-1)[:, GOOD].max()


@pytest.mark.parametrize("place", ["kl_coefficient", "kl_loss_coefficient"])
@pytest.mark.parametrize("name", ["ppo", "grpo", "dapo", "gspo", "reinforce_plus_plus"])
def test_a_large_divergence_coefficient_holds_the_policy_back(name: str, place: str) -> None:
    other = {"kl_coefficient": "kl_loss_coefficient", "kl_loss_coefficient": "kl_coefficient"}[place]
    free = trained(0, name=name, kl_coefficient=0, kl_loss_coefficient=0)
    held = trained(0, name=name, kl_estimator="k2" if "loss" in place else "k1", **{place: 3.0, other: 0})

    def moved(roles: Roles) -> float:
        policy, start = roles.logits.detach().log_softmax(-1), roles.start.log_softmax(-1)
        return float((policy.exp() * (policy - start)).sum(-1).mean())

    assert moved(held) < 0.5 * moved(free)
