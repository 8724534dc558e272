"""Reward functions in every signature, what they report, and how their failures are told."""

import gc
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from planner.domain.run import RewardFunctionSettings
from planner.errors import SpecError
from runtime.data import Message, Prompt, RewardSource
from runtime.reward_functions import RewardFunction, RewardFunctionError, combined
from runtime.workers.call import Call, Mean
from runtime.workers.reward_service import RewardService

WORDS = ("<pad>", "<eos>", "how", "was", "soup", "good", "bad", "very")
TEMPLATE = "{% for m in messages %}{{ m['content'] }} {% endfor %}"
PROMPTS = [
    Prompt(
        messages=(Message(role="user", content="how was soup"),),
        data_source="restaurants",
        reward_model=RewardSource(style="rule", ground_truth="good"),
        extra_info={"index": 0},
        columns={"stars": 5},
    ),
    Prompt(messages=(Message(role="user", content="was soup"),), data_source="canteens"),
]
TOKENS = torch.tensor([[2, 3, 4, 7, 5, 1], [3, 4, 6, 0, 0, 0], [2, 3, 4, 6, 1, 0]])
MASK = torch.tensor([[0, 0, 0, 1, 1, 1], [0, 0, 1, 0, 0, 0], [0, 0, 0, 1, 1, 0]], dtype=torch.bool)
IDS = torch.tensor([0, 1, 0])


@pytest.fixture
def tokenizer():
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<pad>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="<eos>")
    fast.chat_template = TEMPLATE
    return fast


def function(folder: Path, tokenizer, code: str, *, concurrency=1, name="compute_score", **settings):
    path = folder / "rules.py"
    path.write_text(code)
    given = RewardFunctionSettings(path=str(path), name=name, **settings)
    return RewardFunction(given, PROMPTS, tokenizer, concurrency=concurrency)


def scores(*given, **settings):
    found, means = function(*given, **settings).scores(TOKENS, MASK, IDS)
    return found, {name: mean.total / mean.count for name, mean in means.items()}


def test_a_function_of_verl_is_asked_sample_by_sample(tmp_path, tokenizer):
    code = """
import json, pathlib
def compute_score(data_source, solution_str, ground_truth, extra_info=None):
    with open(pathlib.Path(__file__).with_name("seen.jsonl"), "a") as file:
        file.write(json.dumps([data_source, solution_str, ground_truth, extra_info]) + "\\n")
    return len(solution_str.split())
"""
    found, metrics = scores(tmp_path, tokenizer, code)
    assert found.dtype == np.float32
    assert found.tolist() == [2, 1, 1]
    assert metrics == {}
    assert [json.loads(line) for line in (tmp_path / "seen.jsonl").read_text().splitlines()] == [
        ["restaurants", "very good", "good", {"index": 0}],
        ["canteens", "bad", None, {}],
        ["restaurants", "bad", "good", {"index": 0}],
    ]


def test_other_numbers_of_a_dict_are_reported_as_means(tmp_path, tokenizer):
    code = """
def compute_score(solution_str, ground_truth, **rest):
    right = solution_str.endswith(str(ground_truth))
    result = {"score": 2.0 * right, "right": right, "answer": solution_str}
    return result if rest["data_source"] == "canteens" else {**result, "length": len(solution_str)}
"""
    found, metrics = scores(tmp_path, tokenizer, code)
    assert found.tolist() == [2, 0, 0]
    assert metrics == {"reward/right": 1 / 3, "reward/length": 6.0}


def test_a_batched_function_of_verl_is_asked_once(tmp_path, tokenizer):
    code = """
def compute_score(data_sources, solution_strs, ground_truths, extra_infos, bonus):
    assert len(data_sources) == len(ground_truths) == len(extra_infos) == 3
    return [{"score": bonus + ("good" in text)} for text in solution_strs]
"""
    found, _ = scores(tmp_path, tokenizer, code, arguments={"bonus": 10})
    assert found.tolist() == [11, 10, 10]


def test_a_function_of_openrlhf_sees_queries_prompts_and_labels(tmp_path, tokenizer):
    code = """
import torch
def reward_func(queries, prompts, labels):
    assert queries == ["how was soup very good <eos>", "was soup bad", "how was soup bad <eos>"], queries
    assert prompts == ["how was soup", "was soup", "how was soup"]
    assert labels == ["good", None, "good"]
    return {"rewards": torch.tensor([[1.0], [2.0], [3.0]]), "scores": torch.zeros(3),
            "extra_logs": {"length": torch.tensor([1.0, 2.0, 6.0]), "constant": torch.tensor(7)}}
"""
    found, metrics = scores(tmp_path, tokenizer, code, name="reward_func")
    assert found.tolist() == [1, 2, 3]
    assert metrics == {"reward/length": 3.0, "reward/constant": 7.0}


def test_a_function_of_trl_sees_conversations_and_columns(tmp_path, tokenizer):
    code = """
def reward_func(prompts, completions, completion_ids, stars, ground_truth):
    assert prompts[1] == [{"role": "user", "content": "was soup"}]
    assert [turns[0]["content"] for turns in completions] == ["very good", "bad", "bad"]
    assert completion_ids == [[7, 5, 1], [6], [6, 1]]
    assert stars == [5, None, 5] and ground_truth == ["good", None, "good"]
    return [1.5, None, 0]
"""
    found, _ = scores(tmp_path, tokenizer, code, name="reward_func")
    assert found.tolist() == [1.5, 0, 0]


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_columns_that_not_every_prompt_has_are_none_where_they_are_missing(tmp_path, tokenizer, order):
    (tmp_path / "rules.py").write_text("""
def f(prompts, completions, stars):
    return [-1 if star is None else star for star in stars]
""")
    settings = RewardFunctionSettings(path=str(tmp_path / "rules.py"), name="f")
    asked = RewardFunction(settings, [PROMPTS[number] for number in order], tokenizer)
    without = torch.tensor([order.index(1)])
    assert asked.scores(TOKENS[1:2], MASK[1:2], without)[0].tolist() == [-1]
    both = torch.tensor([order.index(number) for number in IDS.tolist()])
    assert asked.scores(TOKENS, MASK, both)[0].tolist() == [5, -1, 5]


def test_without_a_chat_template_trl_gets_texts(tmp_path, tokenizer):
    tokenizer.chat_template = None
    code = "def f(prompts, completions, **rest): return [len(p + c) for p, c in zip(prompts, completions)]"
    found, _ = scores(tmp_path, tokenizer, code, name="f")
    assert found.tolist() == [21, 11, 15]


@pytest.mark.parametrize("concurrency", [1, 2, 8])
@pytest.mark.parametrize("kind", ["thread", "async"])
def test_no_more_calls_at_once_than_the_service_works_on(tmp_path, tokenizer, concurrency, kind):
    code = """
import asyncio, threading, time
running, most = 0, 0
def start():
    global running, most
    running += 1
    most = max(most, running)
def stop():
    global running
    running -= 1
def thread(solution_str, data_source, wanted):
    start()
    deadline = time.monotonic() + 20
    while most < wanted and time.monotonic() < deadline:
        time.sleep(0.001)
    stop()
    return most
async def async_(solution_str, data_source, wanted):
    start()
    deadline = time.monotonic() + 20
    while most < wanted and time.monotonic() < deadline:
        await asyncio.sleep(0.001)
    stop()
    return most
"""
    name = {"thread": "thread", "async": "async_"}[kind]
    wanted = min(3, concurrency)
    given = {"concurrency": concurrency, "name": name, "arguments": {"wanted": wanted}}
    found, _ = scores(tmp_path, tokenizer, code, **given)
    assert max(found) == wanted


def test_what_an_async_function_keeps_serves_every_call(tmp_path, tokenizer):
    """A semaphore or a client belongs to the event loop in which it was waited for first."""
    code = """
import asyncio
free = asyncio.Semaphore(1)
async def compute_score(solution_str, **rest):
    async with free:
        await asyncio.sleep(0.001)
        return len(solution_str)
"""
    asked = function(tmp_path, tokenizer, code, concurrency=3)
    assert [asked.scores(TOKENS, MASK, IDS)[0].tolist() for _ in range(2)] == [[9, 3, 3]] * 2


def test_the_event_loop_ends_with_the_function(tmp_path, tokenizer):
    code = """
import asyncio
loops = []
async def compute_score(solution_str, **rest):
    loops.append(asyncio.get_running_loop())
    return 0
"""
    asked = function(tmp_path, tokenizer, code)
    asked.scores(TOKENS, MASK, IDS)
    loops = sys.modules["reward_function_rules"].loops
    assert not loops[0].is_closed()
    del asked
    gc.collect()
    assert len(set(loops)) == 1
    assert loops[0].is_closed()


def test_a_failure_names_file_function_sample_and_keeps_its_cause(tmp_path, tokenizer):
    code = """
def compute_score(data_source, solution_str, ground_truth, extra_info=None):
    return 1 / (data_source != "canteens")
"""
    with pytest.raises(RewardFunctionError) as caught:
        scores(tmp_path, tokenizer, code)
    assert str(caught.value) == (
        f'{tmp_path}/rules.py: compute_score failed on sample 1 (prompt "was soup", response "bad"): '
        "ZeroDivisionError: division by zero"
    )
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_failure_of_an_async_function_names_its_sample(tmp_path, tokenizer):
    code = "async def compute_score(solution_str, **rest): return {}[solution_str]"
    with pytest.raises(RewardFunctionError, match=r"failed on sample 0 .*: KeyError: 'very good'"):
        scores(tmp_path, tokenizer, code)


@pytest.mark.parametrize(
    ("returned", "complaint"),
    [
        ("None", "returned None for sample 0"),
        ("'3'", 'returned "3" for sample 0'),
        ("float('nan')", "returned nan for sample 0"),
        ("{'reward': 1}", "returned {'reward': 1} for sample 0"),
        ("[1, 2]", "returned [1, 2] for sample 0"),
    ],
)
def test_what_is_no_score_is_refused(tmp_path, tokenizer, returned, complaint):
    with pytest.raises(RewardFunctionError) as caught:
        scores(tmp_path, tokenizer, f"def compute_score(solution_str, **rest): return {returned}")
    assert complaint in str(caught.value)
    assert "expected a finite number" in str(caught.value)


@pytest.mark.parametrize("number", ["float('inf')", "float('nan')", "-np.inf", "torch.tensor(torch.nan)"])
def test_numbers_beside_the_score_are_finite_too(tmp_path, tokenizer, number):
    code = f"""
import numpy as np, torch
def compute_score(solution_str, **rest): return {{"score": 1, "fine": 2, "length": {number}}}
"""
    with pytest.raises(
        RewardFunctionError, match=r"compute_score returned -?(inf|nan) as 'length' for sample 0"
    ):
        scores(tmp_path, tokenizer, code)


def test_a_number_that_there_is_none_of_is_none(tmp_path, tokenizer):
    code = """
def reward_func(queries, prompts, labels):
    return {"rewards": [1, 2, 3], "extra_logs": {"length": [None, 2.0, 4.0]}}
"""
    assert scores(tmp_path, tokenizer, code, name="reward_func")[1] == {"reward/length": 3.0}


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        ("def compute_score(solution_strs, **rest): return [1]", "returned 1 scores for 3 samples"),
        ("def compute_score(solution_strs, **rest): return 1", "returned 1: TypeError"),
        ("def compute_score(queries, **rest): return {}", "returned {}: KeyError('rewards')"),
        ("def compute_score(solution_strs, **rest): rest['x']", "failed on a batch of 3 samples: KeyError"),
    ],
)
def test_a_batch_of_wrong_answers_is_refused(tmp_path, tokenizer, code, complaint):
    with pytest.raises(RewardFunctionError) as caught:
        scores(tmp_path, tokenizer, code)
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        ("import nowhere\ndef compute_score(solution_str): ...", "cannot be run: ModuleNotFoundError"),
        ("import sys\nsys.exit()\ndef compute_score(solution_str): ...", "cannot be run: SystemExit"),
        ("compute_score = 3", "'compute_score' is 3, not a function"),
        ("def compute_score(text): ...", "takes none of solution_str (verl), solution_strs (verl-batched)"),
        (
            "def compute_score(solution_str, judge): ...",
            "missing a required argument: 'judge'; it is called with data_source, solution_str",
        ),
        ("def score(solution_str): ...", "defines no 'compute_score'"),
    ],
)
def test_a_function_that_cannot_be_asked_is_refused_at_the_start(tmp_path, tokenizer, code, complaint):
    with pytest.raises(SpecError) as caught:
        function(tmp_path, tokenizer, code)
    assert complaint in str(caught.value)


def test_arguments_that_a_function_does_not_take_are_refused_at_the_start(tmp_path, tokenizer):
    with pytest.raises(SpecError, match="unexpected keyword argument 'strict'"):
        function(tmp_path, tokenizer, "def compute_score(solution_str): ...", arguments={"strict": 1})


def test_a_signature_that_is_said_needs_no_parameter_to_tell_it(tmp_path, tokenizer):
    code = "def compute_score(**given): return len(given['solution_str'])"
    found, _ = scores(tmp_path, tokenizer, code, signature="verl")
    assert found.tolist() == [9, 3, 3]


def test_what_lies_beside_the_file_can_be_imported(tmp_path, tokenizer):
    (tmp_path / "beside_the_rules.py").write_text("value = 4")
    code = "import beside_the_rules\ndef compute_score(solution_str): return beside_the_rules.value"
    assert scores(tmp_path, tokenizer, code)[0].tolist() == [4, 4, 4]


def test_a_rank_without_samples_has_no_scores(tmp_path, tokenizer):
    code = "def compute_score(solution_strs): return 1 / len(solution_strs)"
    found, metrics = function(tmp_path, tokenizer, code).scores(TOKENS[:0], MASK[:0], IDS[:0])
    assert (found.shape, metrics) == ((0,), {})


def test_a_model_and_a_function_together_are_a_weighted_sum():
    settings = RewardFunctionSettings(path="rules.py", weight=0.5)
    both = combined(np.array([1.0, 2.0], np.float32), np.array([4.0, -4.0], np.float32), settings)
    assert both.dtype == np.float32
    assert both.tolist() == [3, 0]


def test_a_service_answers_scores_baselines_and_costs(tmp_path, tokenizer):
    code = "def compute_score(solution_str): return {'score': len(solution_str), 'length': 1}"
    service = RewardService(function(tmp_path, tokenizer, code, weight=2))
    fields = {"tokens": TOKENS, "response_mask": MASK, "prompt_ids": IDS}
    for method, metrics in (
        ("scores", {"reward/length": Mean(3, 3)}),
        ("costs", {"reward/length": Mean(3, 3)}),
        ("baselines", {}),
    ):
        call = Call(name=method, role="reward", method=method, iteration=0, rows=(range(3),))
        answer = getattr(service, method)(call, fields)
        assert answer.fields[method].tolist() == [18, 6, 6]
        assert answer.fields[method].dtype == np.float32
        assert answer.metrics == metrics
