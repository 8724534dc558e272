"""Whole generations on other terms, and what they say."""

from hypothesis import settings

from planner.domain.parallelism import GenerationStrategy
from planner.simulation.generation import generate, report
from planner.simulation.generation.requests import draw

some = settings(max_examples=25)
TAILED = {"mean": 700, "maximum": 8192, "sigma": 1.0}


def layout(**fields):
    return GenerationStrategy(**{"max_sequences": 64, "replicas": 4, **fields})


def played(setting, strategy, *, seed=0, **options):
    return generate(setting, strategy, draw(setting.workload, seed=seed), **options)


def told(setting, strategy, *, seed=0, **options):
    outcome = played(setting, strategy, seed=seed, **options)
    return report("actor.generate", outcome, setting, strategy)


def seconds(setting, strategy, **options):
    return played(setting, strategy, **options).end_s
