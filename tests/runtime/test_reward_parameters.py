"""Parameters of reward functions as their code writes them, and whether the functions can be called."""

import inspect

import pytest

from planner.domain.run import RewardFunctionSettings
from planner.errors import SpecError
from runtime.data import Message, Prompt
from runtime.reward_functions import load_function
from runtime.reward_parameters import signature_for, written_parameters

PROMPTS = [Prompt(messages=(Message(role="user", content="how?"),), columns={"stars": 5})]


def settings(tmp_path, code, **given):
    path = tmp_path / "rules.py"
    path.write_text(code)
    return RewardFunctionSettings(path=str(path), **given)


@pytest.mark.parametrize(
    "written",
    [
        "",
        "solution_str, /",
        "a, b=1",
        "a, /, b, c=f(2), *rest, d, e=3, **others",
        "*, queries: int = 0",
        "*a",
    ],
)
@pytest.mark.parametrize("word", ["def", "async def"])
def test_written_parameters_are_those_of_the_loaded_function(tmp_path, word, written):
    made = settings(tmp_path, f"def f(x): return x\n{word} compute_score({written}): ...")
    loaded = inspect.signature(load_function(made)).parameters.values()
    found = written_parameters(made).parameters.values()
    assert [(each.name, each.kind, each.default is each.empty) for each in found] == [
        (each.name, each.kind, each.default is each.empty) for each in loaded
    ]


@pytest.mark.parametrize(
    "code",
    [
        "from rules_elsewhere import compute_score",
        "from rules_elsewhere import *\ndef compute_score(a): ...",
        "@decorated\ndef compute_score(a): ...",
        "def compute_score(a): ...\ncompute_score = decorated(compute_score)",
        "try:\n    import fast as compute_score\nexcept ImportError:\n    def compute_score(a): ...",
        "class compute_score: ...",
        "compute_score = lambda solution_str: 0",
        "def compute_score(: ...",
        "raise SystemExit",
    ],
)
def test_what_only_running_a_file_shows_is_not_guessed(tmp_path, code):
    assert written_parameters(settings(tmp_path, code)) is None


def test_the_code_is_not_run(tmp_path):
    made = settings(tmp_path, "import nowhere\ndef compute_score(solution_str, strict=nowhere.strict()): ...")
    assert [*written_parameters(made).parameters] == ["solution_str", "strict"]


@pytest.mark.parametrize(
    ("code", "given", "signature"),
    [
        ("def compute_score(solution_str): ...", {}, "verl"),
        ("def compute_score(solution_strs, bonus): ...", {"arguments": {"bonus": 1}}, "verl-batched"),
        ("def compute_score(queries, **rest): ...", {}, "openrlhf"),
        ("def compute_score(completions, stars): ...", {}, "trl"),
        ("def compute_score(**rest): ...", {"signature": "trl"}, "trl"),
    ],
)
def test_a_signature_is_told_by_the_names_or_by_the_settings(tmp_path, code, given, signature):
    made = settings(tmp_path, code, **given)
    assert signature_for(made, written_parameters(made), PROMPTS) == signature


@pytest.mark.parametrize(
    ("code", "given", "complaint"),
    [
        ("def compute_score(answer): ...", {}, r"compute_score\(answer\): takes none of solution_str"),
        ("def compute_score(solution_str, judge): ...", {}, "missing a required argument: 'judge'"),
        ("def compute_score(completions, moons): ...", {}, "'moons'; it is called with stars"),
        ("def compute_score(solution_str): ...", {"arguments": {"a": 1}}, "unexpected keyword argument 'a'"),
        ("def compute_score(answer): ...", {"signature": "verl"}, "missing a required argument: 'answer'"),
    ],
)
def test_a_function_that_cannot_be_called_is_refused(tmp_path, code, given, complaint):
    made = settings(tmp_path, code, **given)
    with pytest.raises(SpecError, match=complaint):
        signature_for(made, written_parameters(made), PROMPTS)
