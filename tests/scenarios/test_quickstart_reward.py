"""The quickstart's rule tells the tones of its little language apart."""

import importlib.util
import random
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def loaded(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("seed", range(3))
def test_friendly_remarks_score_above_neutral_ones_and_those_above_rude_ones(seed: int) -> None:
    grammar = loaded(ROOT / "scripts" / "quickstart_grammar.py")
    rule = loaded(ROOT / "scenarios" / "quickstart_reward.py")
    rng = random.Random(seed)

    def mean(tone: str) -> float:
        asked = [grammar.question(rng) for _ in range(100)]
        found = [
            rule.compute_score("", grammar.reply(rng, each, tone).text, each.subject.phrase) for each in asked
        ]
        return sum(each["score"] for each in found) / len(found)

    assert mean("friendly") > mean("neutral") + 0.5 > mean("rude") + 1.0
