"""Engines of tiny models, what they are trained on, and their gradients; for tests against transformers."""

from collections.abc import Mapping
from dataclasses import replace

import torch

from planner.domain.model import ModelSpec
from planner.domain.parallelism import ParallelStrategy
from runtime.engines.gather import WeightGather
from runtime.engines.layout import Layout
from runtime.engines.megatron import MegatronEngine
from runtime.engines.optimizer import OptimizerSettings
from tests.runtime import tiny

UNCLIPPED = OptimizerSettings(learning_rate=1e-2, gradient_clip=1e9, distributed=False)
SMOOTH = replace(UNCLIPPED, epsilon=1e-4)
"""For weights after steps: with 1e-8 Adam takes a whole step along a gradient that is rounding noise."""


def engine_of(model: ModelSpec, strategy: str, **options) -> MegatronEngine:
    options = {"head": "vocabulary", "precision": "fp32", "seed": 0, "optimizer": None} | options
    engine = MegatronEngine(model=model, layout=Layout(ParallelStrategy.parse(strategy)), **options)
    engine.load(model.folder)
    return engine


def devices(strategy: str) -> int:
    return ParallelStrategy.parse(strategy).devices


def gradients(engine: MegatronEngine) -> dict[str, torch.Tensor]:
    """Whole gradients under their Hugging Face names, on every rank."""
    held = engine.shards(of=lambda parameter: parameter.main_grad)
    gather = WeightGather(
        model=engine.model,
        head=engine.head,
        strategy=engine.layout.strategy,
        read=lambda name: held[name].read(),
        dtype=torch.float32,
        device=torch.device("cpu"),
        groups=engine.replica_groups(),
    )
    return {tensor.name: part.clone() for tensor, part in gather}


def weighted_sum(output: torch.Tensor, batch: Mapping[str, torch.Tensor]):
    """A loss in which every output has a weight of its own."""
    share = (output * batch["weights"]).sum()
    return share, {"loss": share.detach()}


def micro_batches() -> list[dict[str, torch.Tensor]]:
    """Four micro-batches of different lengths."""
    draw = torch.Generator().manual_seed(3)
    batches = []
    for seed, length in enumerate((8, 12, 8, 10)):
        tokens_bs = tiny.tokens(2, length, seed=seed)
        batches.append({"tokens_bs": tokens_bs, "weights": torch.rand(2, length - 1, generator=draw) / 50})
    return batches


def own_batches(engine: MegatronEngine) -> list[dict[str, torch.Tensor]]:
    return micro_batches()[engine.layout.at.data :: engine.layout.strategy.data]


def step_all(models, strategy, options=None):
    """Metrics and whole gradients of one update of each model, by engines with these options."""
    results = []
    for model in models:
        engine = engine_of(model, strategy, optimizer=UNCLIPPED, **(options or {}))
        metrics = engine.update(own_batches(engine), weighted_sum)
        results.append((metrics, gradients(engine)))
    return results


def assert_steps_equal_those_of_transformers(models, ranks):
    """Loss, gradient norm and every gradient, on every rank."""
    for index, model in enumerate(models):
        network = tiny.network_of(model)
        loss = sum(
            (tiny.logprobs(network, batch["tokens_bs"]) * batch["weights"]).sum() for batch in micro_batches()
        )
        loss.backward()
        expected = tiny.gradients(network)
        norm = torch.cat([gradient.flatten().double() for gradient in expected.values()]).norm()
        for metrics, found in (results[index] for results in ranks):
            assert abs(metrics["loss"] - loss.item()) < 1e-5
            assert abs(metrics["grad_norm"] / norm.item() - 1) < 1e-5
            assert metrics["learning_rate"] == 1e-2
            assert found.keys() == expected.keys()
            for name, gradient in expected.items():
                assert (found[name] - gradient).abs().max() < 1e-5, name


def train(model, strategy, settings, steps=3, **options):
    """Whole weights after some updates, and the engine's bytes."""
    engine = engine_of(model, strategy, optimizer=settings, **options)
    for _ in range(steps):
        engine.update(own_batches(engine), weighted_sum)
    return dict(engine.export()), engine.static_bytes()


def forward_all(models, strategy, tokens_bs, temperature=1.0):
    """Log-probabilities of each model."""
    engines = [engine_of(model, strategy, temperature=temperature) for model in models]
    return [engine.forward(tokens_bs, micro_batch=2) for engine in engines]
