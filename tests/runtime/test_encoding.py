"""Prompts and pretraining data as tokens, and what becomes of those that are too long."""

from dataclasses import replace

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from planner.errors import SpecError
from runtime.data import Message, Prompt, Text
from runtime.encoding import encode_prompts, encode_text, encode_texts

VOCABULARY = ("<unk>", "<user>", "<assistant>", "how", "was", "the", "soup", "?")
TEMPLATE = "{% for m in messages %}<{{ m['role'] }}> {{ m['content'] }} {% endfor %}<assistant>"


def prompt(text: str) -> Prompt:
    return Prompt(messages=(Message(role="user", content=text),))


def encoded(prompts, tokenizer, *, maximum_tokens, overlong="error"):
    found = encode_prompts(prompts, tokenizer, maximum_tokens=maximum_tokens, overlong=overlong)
    return {number: tokens.tolist() for number, tokens in found.items()}


@pytest.fixture(scope="module")
def tokenizer():
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(VOCABULARY)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>")


def test_prompts_are_rendered_by_the_chat_template(tokenizer):
    tokenizer.chat_template = TEMPLATE
    assert encoded([prompt("how was the soup ?"), prompt("how ?")], tokenizer, maximum_tokens=7) == {
        0: [1, 3, 4, 5, 6, 7, 2],
        1: [1, 3, 7, 2],
    }


def test_a_tokenizer_without_template_encodes_the_text_of_single_messages(tokenizer):
    tokenizer.chat_template = None
    assert encoded([prompt("how was")], tokenizer, maximum_tokens=2) == {0: [3, 4]}
    two = Prompt(messages=(Message(role="user", content="how"), Message(role="user", content="was")))
    with pytest.raises(
        SpecError, match='prompt "was": has 2 messages, but the tokenizer has no chat template'
    ):
        encoded([two], tokenizer, maximum_tokens=2)


def test_a_prompt_that_is_too_long_is_named_with_its_length(tokenizer):
    tokenizer.chat_template = TEMPLATE
    with pytest.raises(SpecError, match=r'prompt "how was the soup \?": has 7 tokens, at most 6 fit'):
        encoded([prompt("how was the soup ?"), prompt("how ?")], tokenizer, maximum_tokens=6)


def test_prompts_that_are_too_long_are_dropped_or_lose_their_first_tokens(tokenizer):
    tokenizer.chat_template = TEMPLATE
    prompts = [prompt("how was the soup ?"), prompt("how ?")]
    assert encoded(prompts, tokenizer, maximum_tokens=4, overlong="drop") == {1: [1, 3, 7, 2]}
    assert encoded(prompts, tokenizer, maximum_tokens=4, overlong="truncate") == {
        0: [5, 6, 7, 2],
        1: [1, 3, 7, 2],
    }
    with pytest.raises(SpecError, match="no prompt is left of 2: all have more than 3 tokens"):
        encoded(prompts, tokenizer, maximum_tokens=3, overlong="drop")


def placed(text: str, line: int) -> Prompt:
    return replace(prompt(text), where=f"prompts.jsonl:{line}")


def test_prompts_without_a_token_are_refused_with_file_and_line(tokenizer):
    tokenizer.chat_template = None
    with pytest.raises(SpecError) as caught:
        encoded([prompt("how"), placed("", 2), placed(" ", 5)], tokenizer, maximum_tokens=4)
    assert str(caught.value) == (
        'prompts.jsonl:2: prompt "": has no token; leave it out of the file\n'
        'prompts.jsonl:5: prompt " ": has no token; leave it out of the file'
    )


def test_what_a_chat_template_refuses_is_named_with_file_and_line_and_its_words(tokenizer):
    tokenizer.chat_template = (
        "{% if 'soup' in messages[0]['content'] %}{{ raise_exception('no soup today') }}{% endif %}"
        + TEMPLATE
    )
    prompts = [placed("how was", 1), placed("the soup ?", 2), placed("was soup", 4)]
    with pytest.raises(SpecError) as caught:
        encoded(prompts, tokenizer, maximum_tokens=7)
    assert str(caught.value) == (
        'prompts.jsonl:2: prompt "the soup ?": the tokenizer\'s chat template refuses it: no soup today\n'
        'prompts.jsonl:4: prompt "was soup": the tokenizer\'s chat template refuses it: no soup today'
    )


def test_pretraining_texts_without_a_token_are_refused_with_file_and_line(tokenizer):
    tokenizer.eos_token = "?"
    texts = [Text(text="how", where="texts.jsonl:1"), Text(text=" ", where="texts.jsonl:2")]
    with pytest.raises(SpecError) as caught:
        encode_texts(texts, tokenizer, maximum_tokens=4)
    assert str(caught.value) == 'texts.jsonl:2: text " ": has no token; leave it out of the file'
    (tokens,) = encode_texts(texts[:1], tokenizer, maximum_tokens=4)
    assert tokens.tolist() == [3, 7]


def test_pretraining_data_are_texts_or_tokens_with_an_end_if_there_is_room(tokenizer):
    tokenizer.eos_token = "?"
    texts = [Text(text="how was the soup"), Text(tokens=(3, 4, 7))]
    assert [encode_text(text, tokenizer, maximum_tokens=9) for text in texts] == [[3, 4, 5, 6, 7], [3, 4, 7]]
    assert [encode_text(text, tokenizer, maximum_tokens=2) for text in texts] == [[3, 4], [3, 4]]
