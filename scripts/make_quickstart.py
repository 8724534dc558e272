"""Make the data of the quickstart scenario: a tokenizer, two policies, a reward model and prompts.

Everything is trained here, from a small grammar, in about three minutes on two idle cores::

    python scripts/make_quickstart.py [--out DIR] [--seed N]

The same seed, machine and versions give the same bytes. The folder is replaced whole or not at all.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from pathlib import Path

import quickstart_grammar as grammar
import quickstart_models as models
import torch
from quickstart_grammar import Question
from transformers import PreTrainedTokenizerFast
from transformers.utils import logging

OUT = Path(__file__).resolve().parent.parent / "scenarios" / "quickstart"
CONTENTS = {"policy", "prompts.jsonl", "reviewer", "reward", "tokenizer"}
THREADS = 2  # fixed, for the order of floating-point sums depends on it
PROMPTS = 384
POLICY_STEPS = 1000
REVIEWER_STEPS = 500
REWARD_STEPS = 400
HELD_OUT = 512
PROGRESS_EVERY = 50


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and make the folder."""
    parser = argparse.ArgumentParser(description="Train and write the data of the quickstart scenario.")
    parser.add_argument("--out", type=Path, default=OUT, help="folder to replace (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of grammar and training (default: 0)")
    options = parser.parse_args(arguments)
    if complaint := _complaint(options.out):
        parser.error(complaint)
    make_quickstart(options.out.resolve(), seed=options.seed)
    return 0


def make_quickstart(out: Path, *, seed: int) -> None:
    """Train and write everything beside `out`, then put it in the place of `out`."""
    start = time.monotonic()
    torch.set_num_threads(THREADS)
    torch.use_deterministic_algorithms(True)
    logging.disable_progress_bar()
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as scratch:
        made = Path(scratch) / "made"
        made.mkdir()
        write_prompts(made / "prompts.jsonl", seed=seed)
        tokenizer = models.build_tokenizer()
        tokenizer.save_pretrained(made / "tokenizer")
        make_policy(made / "policy", models.REMARKS, seed=seed, steps=POLICY_STEPS)
        make_policy(made / "reviewer", models.REVIEWS, seed=seed, steps=REVIEWER_STEPS)
        make_reward(made / "reward", tokenizer, seed=seed)
        if out.exists():
            out.rename(Path(scratch) / "replaced")
        made.rename(out)
    print(f"{out}: {_megabytes(out):.1f} MB in {time.monotonic() - start:.0f} s")


def write_prompts(path: Path, *, seed: int) -> None:
    """Write distinct prompts in verl's columns, one JSON object a line."""
    rows = (_row(index, asked) for index, asked in enumerate(_distinct_questions(random.Random(seed))))
    path.write_text("".join(json.dumps(row, sort_keys=True) + "\n" for row in rows), encoding="utf-8")


def make_policy(folder: Path, style: models.Style, *, seed: int, steps: int) -> None:
    """Train a policy, say how well it knows fresh text, and write its folder."""
    tokenizer = models.build_tokenizer(style.maximum_tokens)
    progress = _progress(folder.name)
    policy = models.train_policy(tokenizer, style, seed=seed, steps=steps, progress=progress)
    fresh = models.exchanges(random.Random(seed + 1), style, count=HELD_OUT)
    with torch.no_grad():
        loss = models.reply_negative_log_likelihood(policy, tokenizer, fresh)
    print(f"{folder.name}: {loss:.3f} nats per token on fresh replies, vocabulary of {len(tokenizer)}")
    policy.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def make_reward(folder: Path, tokenizer: PreTrainedTokenizerFast, *, seed: int) -> None:
    """Train the reward model, say how many fresh pairs it puts in order, and write its folder."""
    reward = models.train_reward(tokenizer, seed=seed, steps=REWARD_STEPS, progress=_progress("reward"))
    fresh = models.comparisons(random.Random(seed + 1), count=HELD_OUT)
    with torch.no_grad():
        scores_pr = models.reply_scores(reward, tokenizer, fresh)
    accuracy = models.pair_accuracy(scores_pr)
    lowest, highest = scores_pr.aminmax()
    print(f"reward: {accuracy:.1%} of fresh pairs in order, scores {lowest:.1f} to {highest:.1f}")
    reward.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _complaint(out: Path) -> str | None:
    """Say why `out` cannot be replaced, if it cannot."""
    if not out.exists():
        return None
    if not out.is_dir():
        return f"--out {out}: is a file, expected a folder"
    if foreign := sorted(entry.name for entry in out.iterdir() if entry.name not in CONTENTS):
        return f"--out {out}: holds {', '.join(foreign)}, not from this script; name another folder"
    return None


def _distinct_questions(rng: random.Random) -> list[Question]:
    questions: dict[str, Question] = {}
    while len(questions) < PROMPTS:
        asked = grammar.question(rng)
        questions.setdefault(asked.text, asked)
    return list(questions.values())


def _row(index: int, asked: Question) -> dict[str, object]:
    return {
        "data_source": "hybridmap/quickstart",
        "prompt": [{"role": "user", "content": asked.text}],
        "ability": "review",
        "reward_model": {"style": "model", "ground_truth": asked.subject.phrase},
        "extra_info": {"split": "train", "index": index},
    }


def _progress(name: str) -> models.Progress:
    def show(step: int, loss: float) -> None:
        if step % PROGRESS_EVERY == 0:
            print(f"{name}: step {step}, loss {loss:.3f}", file=sys.stderr, flush=True)

    return show


def _megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


if __name__ == "__main__":
    sys.exit(main())
