"""The quickstart's data as it is shipped: fluent, judged rightly, and readable without our code."""

import importlib
import json
import random
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "scenarios" / "quickstart"
SEED = 20260  # none that the shipped data was made with


@pytest.fixture(scope="module")
def scripts():
    """The modules beside the script, which find each other as they do when it runs."""
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        names = ("make_quickstart", "quickstart_grammar", "quickstart_models")
        return SimpleNamespace(**{name: importlib.import_module(name) for name in names})
    finally:
        sys.path.remove(str(ROOT / "scripts"))


@pytest.fixture(scope="module")
def tokenizer(scripts):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(SHIPPED / "tokenizer")


def test_every_sentence_of_the_grammar_survives_the_shipped_tokenizer(scripts, tokenizer):
    grammar, rng = scripts.quickstart_grammar, random.Random(SEED)
    for _ in range(300):
        asked = grammar.question(rng)
        for text in (asked.text, *(grammar.reply(rng, asked, tone).text for tone in grammar.TONES)):
            tokens = tokenizer(text).input_ids
            assert tokenizer.decode(tokens) == text
            assert tokenizer.unk_token_id not in tokens
            assert len(tokens) == len(grammar.words(text))


def test_the_tokenizer_has_its_special_tokens_first_and_a_vocabulary_that_divides(tokenizer):
    assert [tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id] == [0, 1, 2]
    assert len(tokenizer) % 8 == 0
    assert tokenizer.decode(tokenizer("How was the soup ?").input_ids) == "how was the soup?"


def test_the_chat_template_renders_what_the_policy_was_trained_on(tokenizer):
    conversation = [{"role": "user", "content": "how was the soup?"}]
    rendered = tokenizer.apply_chat_template(conversation, add_generation_prompt=True, tokenize=False)
    assert rendered == "<bos><user>how was the soup?<assistant>"
    answered = [*conversation, {"role": "assistant", "content": "the soup was cold."}]
    assert tokenizer.apply_chat_template(answered, tokenize=False).endswith("the soup was cold.<eos>")


@pytest.mark.parametrize(
    ("folder", "style", "nats"), [("policy", "REMARKS", 0.8), ("reviewer", "REVIEWS", 1.0)]
)
def test_the_shipped_policies_know_fresh_replies(scripts, tokenizer, folder, style, nats):
    import torch
    from transformers import LlamaForCausalLM

    models = scripts.quickstart_models
    policy = LlamaForCausalLM.from_pretrained(SHIPPED / folder)
    fresh = models.exchanges(random.Random(SEED), getattr(models, style), count=128)
    with torch.no_grad():
        assert models.reply_negative_log_likelihood(policy, tokenizer, fresh).item() < nats


def test_the_reviewer_s_responses_have_a_long_tail(tokenizer):
    import torch
    from transformers import LlamaForCausalLM

    reviewer = LlamaForCausalLM.from_pretrained(SHIPPED / "reviewer")
    asked = tokenizer(
        "<bos><user>how was the soup?<assistant>", return_tensors="pt", add_special_tokens=False
    )
    torch.manual_seed(SEED)
    rows_bs = reviewer.generate(
        **asked, do_sample=True, top_k=0, num_return_sequences=512, max_new_tokens=480, pad_token_id=0
    )
    lengths = (rows_bs[:, asked.input_ids.shape[1] :] != 0).sum(dim=1).double()
    assert 30 < lengths.mean() < 80
    assert 4 * lengths.median() < lengths.max() < 480


def test_the_shipped_reward_orders_fresh_pairs(scripts, tokenizer):
    import torch
    from transformers import LlamaForSequenceClassification

    models = scripts.quickstart_models
    reward = LlamaForSequenceClassification.from_pretrained(SHIPPED / "reward")
    fresh = models.comparisons(random.Random(SEED), count=128)
    with torch.no_grad():
        scores_pr = models.reply_scores(reward, tokenizer, fresh)
    assert models.pair_accuracy(scores_pr) > 0.95
    assert scores_pr.abs().max() < 5
    assert scores_pr.mean(dim=0).diff().max() < 0  # friendly above neutral above rude above spoiled


def test_the_reward_is_read_at_the_last_token_as_transformers_does(scripts, tokenizer):
    import torch
    from transformers import LlamaForSequenceClassification

    models = scripts.quickstart_models
    reward = LlamaForSequenceClassification.from_pretrained(SHIPPED / "reward")
    (ranked,) = models.comparisons(random.Random(SEED), count=1)
    texts = [
        f"<bos><user>{ranked.question.text}<assistant>{reply.text}{'<eos>' if reply.finished else ''}"
        for reply in ranked.replies
    ]
    with torch.no_grad():
        theirs = reward(**tokenizer(texts, padding=True, return_tensors="pt")).logits
        torch.testing.assert_close(models.reply_scores(reward, tokenizer, [ranked]), theirs.T)


@pytest.mark.parametrize(("folder", "layers"), [("policy", 4), ("reviewer", 4), ("reward", 2)])
def test_the_models_are_small_full_folders_of_the_agreed_shape(folder, layers):
    config = json.loads((SHIPPED / folder / "config.json").read_text())
    assert config["dtype"] == "float32"
    assert config["num_hidden_layers"] == layers
    assert [config[key] for key in ("hidden_size", "intermediate_size", "head_dim")] == [128, 256, 32]
    assert [config[key] for key in ("num_attention_heads", "num_key_value_heads")] == [8, 4]
    assert (SHIPPED / folder / "model.safetensors").stat().st_size < 4e6
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        expected = (SHIPPED / "tokenizer" / name).read_text()
        if name == "tokenizer_config.json" and folder == "reviewer":
            expected = expected.replace('"model_max_length": 128', '"model_max_length": 512')
        assert (SHIPPED / folder / name).read_text() == expected
    assert config["max_position_embeddings"] == (512 if folder == "reviewer" else 128)


def test_the_prompts_are_distinct_and_have_the_columns_of_verl():
    rows = [json.loads(line) for line in (SHIPPED / "prompts.jsonl").read_text().splitlines()]
    assert 200 <= len(rows) < 1000
    for index, row in enumerate(rows):
        assert sorted(row) == ["ability", "data_source", "extra_info", "prompt", "reward_model"]
        assert row["extra_info"] == {"split": "train", "index": index}
        assert sorted(row["reward_model"]) == ["ground_truth", "style"]
        (message,) = row["prompt"]
        assert message["role"] == "user"
        assert row["reward_model"]["ground_truth"] in message["content"]
    assert len({row["prompt"][0]["content"] for row in rows}) == len(rows)
    assert len({len(row["prompt"][0]["content"].split()) for row in rows}) > 5


def test_the_shipped_prompts_are_what_the_script_writes(scripts, tmp_path):
    scripts.make_quickstart.write_prompts(tmp_path / "prompts.jsonl", seed=0)
    assert (tmp_path / "prompts.jsonl").read_bytes() == (SHIPPED / "prompts.jsonl").read_bytes()


def test_training_twice_gives_the_same_bits(scripts, tokenizer):
    import torch

    models = scripts.quickstart_models
    first, second = (
        models.train_policy(tokenizer, models.REMARKS, seed=3, steps=2, progress=lambda step, loss: None)
        for _ in range(2)
    )
    for name, weight in first.state_dict().items():
        assert torch.equal(weight, second.state_dict()[name]), name


def test_the_tones_are_equally_likely(scripts):
    grammar = scripts.quickstart_grammar
    models = scripts.quickstart_models
    replies = models.exchanges(random.Random(SEED), models.REMARKS, count=3000)
    opened = Counter(
        tone for _, reply in replies for tone in grammar.TONES if reply.text.startswith(grammar.OPENERS[tone])
    )
    assert min(opened.values()) > 0.8 * max(opened.values())


def test_a_folder_with_anything_else_in_it_is_not_replaced(scripts, tmp_path, capsys):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(SystemExit) as caught:
        scripts.make_quickstart.main(["--out", str(tmp_path)])
    assert caught.value.code == 2
    assert "holds thesis.tex, not from this script" in capsys.readouterr().err
    assert (tmp_path / "thesis.tex").exists()
