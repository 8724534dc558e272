"""The tokenizer, the policy and the reward model of the quickstart, built and trained from the grammar alone.

Shapes are suffixes: ``b`` sequences, ``s`` their positions, ``v`` vocabulary, ``h`` hidden size, ``p``
prompts, ``r`` replies to one prompt.
"""

# ruff: noqa: E402 - the guard must run before transformers is imported

import itertools
import random
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

for module in ("torchvision", "torchaudio", "torchcodec"):
    sys.modules.setdefault(
        module, None
    )  # PyPI's wheels are CUDA builds; beside a CPU torch they break transformers

import quickstart_grammar as grammar
import torch
from quickstart_grammar import Question, Reply, Tone
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
)

PAD, BOS, EOS, UNKNOWN, USER, ASSISTANT = SPECIAL = (
    "<pad>",
    "<bos>",
    "<eos>",
    "<unk>",
    "<user>",
    "<assistant>",
)
VOCABULARY_MULTIPLE = 8
MAXIMUM_TOKENS = 128
HIDDEN = 128
IGNORED = -100
WARM_UP_STEPS = 20
SCORE_PENALTY = 0.02

CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}<assistant>{{ message['content'] }}{{ eos_token }}"
    "{% else %}<user>{{ message['content'] }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)

Exchange = tuple[Question, Reply]
Write = Callable[[random.Random, Question, Tone], Reply]
Progress = Callable[[int, float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How a policy answers; `maximum_tokens` of prompt and response it can read."""

    write: Write
    maximum_tokens: int


REMARKS = Style(write=grammar.reply, maximum_tokens=MAXIMUM_TOKENS)
REVIEWS = Style(write=grammar.review, maximum_tokens=512)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Replies to one question, best first; every one is to score above all that follow it."""

    question: Question
    replies: tuple[Reply, ...]


def build_tokenizer(maximum_tokens: int = MAXIMUM_TOKENS) -> PreTrainedTokenizerFast:
    """Make the word-level tokenizer of the grammar; decoding gives back its text to the letter."""
    marks = set(".,!?")
    texts = [word if word in marks else f"▁{word}" for word in grammar.VOCABULARY]
    tokens = [*SPECIAL, *texts]
    tokens += [f"<reserved_{index}>" for index in range(-len(tokens) % VOCABULARY_MULTIPLE)]

    tokenizer = Tokenizer(
        models.WordLevel({token: index for index, token in enumerate(tokens)}, unk_token=UNKNOWN)
    )
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Lowercase(),
            normalizers.Strip(),
            normalizers.Replace(Regex(r"\s+(?=[.,!?])"), ""),
            normalizers.Replace(Regex(r"\s+"), " "),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(prepend_scheme="always"), pre_tokenizers.Punctuation("isolated")]
    )
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        unk_token=UNKNOWN,
        additional_special_tokens=[USER, ASSISTANT],
        padding_side="right",
        model_max_length=maximum_tokens,
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def train_policy(
    tokenizer: PreTrainedTokenizerFast, style: Style, *, seed: int, steps: int, progress: Progress
) -> LlamaForCausalLM:
    """Teach a small Llama to answer in the three tones alike, by teacher forcing on fresh replies."""
    torch.manual_seed(seed)
    model = LlamaForCausalLM(_configuration(tokenizer, layers=4))

    def losses() -> Iterator[torch.Tensor]:
        rng = random.Random(seed)
        while True:
            yield reply_negative_log_likelihood(model, tokenizer, exchanges(rng, style, count=12))

    _minimise(model, losses(), steps=steps, peak_rate=4e-3, progress=progress)
    return model.eval()


def train_reward(
    tokenizer: PreTrainedTokenizerFast, *, seed: int, steps: int, progress: Progress
) -> LlamaForSequenceClassification:
    """Teach a smaller Llama to score better replies higher, by the Bradley-Terry loss over ranked replies."""
    torch.manual_seed(seed)
    configuration = _configuration(tokenizer, layers=2)
    configuration.num_labels = 1
    model = LlamaForSequenceClassification(configuration)

    def losses() -> Iterator[torch.Tensor]:
        rng = random.Random(seed)
        while True:
            yield _bradley_terry_loss(reply_scores(model, tokenizer, comparisons(rng, count=8)))

    _minimise(model, losses(), steps=steps, peak_rate=3e-3, progress=progress)
    return model.eval()


def exchanges(rng: random.Random, style: Style, *, count: int) -> list[Exchange]:
    """Draw questions with one reply each, every tone as likely as the others."""
    questions = [grammar.question(rng) for _ in range(count)]
    return [(asked, style.write(rng, asked, rng.choice(grammar.TONES))) for asked in questions]


def comparisons(rng: random.Random, *, count: int) -> list[Comparison]:
    """Draw questions with four ranked replies: friendly, neutral (or of mixed tone), rude, broken."""
    return [_comparison(rng, grammar.question(rng)) for _ in range(count)]


def reply_negative_log_likelihood(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, pairs: list[Exchange]
) -> torch.Tensor:
    """Mean negative log-likelihood per reply token, its end included, in nats."""
    tokens_bs, lengths_b, prompt_lengths_b = _pad(tokenizer, pairs)
    positions_s = torch.arange(tokens_bs.shape[1])
    in_reply_bs = (positions_s >= prompt_lengths_b[:, None]) & (positions_s < lengths_b[:, None])
    labels_bs = tokens_bs.masked_fill(~in_reply_bs, IGNORED)
    logits_bsv = model(input_ids=tokens_bs).logits
    return torch.nn.functional.cross_entropy(
        logits_bsv[:, :-1].flatten(0, 1), labels_bs[:, 1:].flatten(), ignore_index=IGNORED
    )


def reply_scores(
    model: LlamaForSequenceClassification, tokenizer: PreTrainedTokenizerFast, ranked: list[Comparison]
) -> torch.Tensor:
    """Score every reply of every comparison, read at its last token; shape (comparisons, replies)."""
    pairs = [(comparison.question, reply) for comparison in ranked for reply in comparison.replies]
    tokens_bs, lengths_b, _ = _pad(tokenizer, pairs)
    hidden_bsh = model.model(input_ids=tokens_bs).last_hidden_state
    last_bh = hidden_bsh[torch.arange(len(pairs)), lengths_b - 1]
    return model.score(last_bh).view(len(ranked), -1)


def pair_accuracy(scores_pr: torch.Tensor) -> float:
    """Share of the pairs of every comparison that are ordered as they should be."""
    better, worse = zip(*itertools.combinations(range(scores_pr.shape[1]), 2), strict=True)
    return (scores_pr[:, better] > scores_pr[:, worse]).float().mean().item()


def _bradley_terry_loss(scores_pr: torch.Tensor) -> torch.Tensor:
    """InstructGPT, equation 1, over all pairs of a comparison; a penalty keeps the scores around zero."""
    better, worse = zip(*itertools.combinations(range(scores_pr.shape[1]), 2), strict=True)
    preference = torch.nn.functional.logsigmoid(scores_pr[:, better] - scores_pr[:, worse])
    return -preference.mean() + SCORE_PENALTY * scores_pr.square().mean()


def _comparison(rng: random.Random, asked: Question) -> Comparison:
    middle = grammar.mixed_reply(rng, asked) if rng.random() < 0.2 else grammar.reply(rng, asked, "neutral")
    good = (grammar.reply(rng, asked, "friendly"), middle, grammar.reply(rng, asked, "rude"))
    spoiled = grammar.spoil(rng, asked, rng.choices(good, weights=(4, 1, 1))[0])
    return Comparison(question=asked, replies=(*good, spoiled))


def _pad(
    tokenizer: PreTrainedTokenizerFast, pairs: list[Exchange]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Encode prompts with replies, padded on the right: tokens (b, s), lengths (b), prompt lengths (b)."""
    prompts = [f"{BOS}{USER}{question.text}{ASSISTANT}" for question, _ in pairs]
    replies = [f"{reply.text}{EOS}" if reply.finished else reply.text for _, reply in pairs]
    prompt_ids = tokenizer(prompts, add_special_tokens=False).input_ids
    reply_ids = tokenizer(replies, add_special_tokens=False).input_ids
    rows = [torch.tensor(prompt + reply) for prompt, reply in zip(prompt_ids, reply_ids, strict=True)]
    tokens_bs = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=tokenizer.pad_token_id)
    return tokens_bs, torch.tensor([len(row) for row in rows]), torch.tensor([len(ids) for ids in prompt_ids])


def _configuration(tokenizer: PreTrainedTokenizerFast, *, layers: int) -> LlamaConfig:
    """Shape both models; 32 is the smallest head that vLLM's CPU attention takes."""
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=HIDDEN,
        intermediate_size=256,
        num_hidden_layers=layers,
        num_attention_heads=8,
        num_key_value_heads=4,
        head_dim=32,
        max_position_embeddings=tokenizer.model_max_length,
        initializer_range=HIDDEN
        ** -0.5,  # a model this small learns several times faster from it than from 0.02
        tie_word_embeddings=False,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        dtype="float32",
    )


def _minimise(
    model: torch.nn.Module,
    losses: Iterable[torch.Tensor],
    *,
    steps: int,
    peak_rate: float,
    progress: Progress,
) -> None:
    """Take AdamW steps with a short warm-up and a linear decay to zero."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak_rate, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / WARM_UP_STEPS, (steps - step) / steps)
    )
    for step, loss in enumerate(itertools.islice(losses, steps), start=1):
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        progress(step, loss.item())
