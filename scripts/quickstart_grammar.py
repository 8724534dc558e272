"""The little language of the quickstart: questions about a restaurant, and remarks that answer them.

A remark is friendly, neutral or rude, and says something about the subject it was asked about::

    how was the soup at the corner bistro?
    the soup was cold and the waiter ignored us. never again!

`reply` writes such remarks. `spoil` turns a good one into what a policy might write to fool a careless reward
model: salads of friendly words, loops, fragments, praise that answers nothing. Everything is drawn from a
`random.Random`.
"""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Tone = Literal["friendly", "neutral", "rude"]
Kind = Literal["food", "staff", "room"]

TONES: tuple[Tone, ...] = ("friendly", "neutral", "rude")

PLACES = (
    "corner bistro",
    "harbour grill",
    "station cafe",
    "old mill",
    "golden spoon",
    "blue door",
    "garden kitchen",
    "hungry fox",
    "silver fork",
    "lazy goat",
)

NOUNS: dict[Kind, tuple[str, ...]] = {
    "food": (
        *("soup", "pasta", "pizza", "salad", "steak", "curry", "salmon", "burger", "cake", "bread", "coffee"),
        *("noodles", "fries", "dumplings", "pancakes"),
    ),
    "staff": ("waiter", "waitress", "chef", "host", "manager", "pianist", "waiters", "cooks"),
    "room": ("terrace", "dining room", "music", "table", "kitchen", "chairs", "windows"),
}
PLURALS = frozenset({"noodles", "fries", "dumplings", "pancakes", "waiters", "cooks", "chairs", "windows"})

QUESTIONS = (
    "how {was} {subject}?",
    "tell me about {subject}.",
    "what about {subject}?",
    "how {was} {subject} at {place}?",
    "what did you think of {subject} at {place}?",
    "you went to {place}. how {was} {subject}?",
    "you had dinner at {place} on {day}. how {was} {subject}?",
    "did you like {subject} when you ate at {place} on {day}?",
    "my {relative} wants to try {place} next week. tell me about {subject}.",
    "we are at {place} with my {relative} and a hungry dog. what did you think of {subject}?",
    "please write a note about {subject} for the guests of {place}. my {relative} will read it on {day}.",
)
DAYS = ("monday", "friday", "sunday")
RELATIVES = ("sister", "uncle", "boss", "neighbour")

PREDICATES: dict[Kind, dict[Tone, tuple[str, ...]]] = {
    "food": {
        "friendly": (
            "{was} delicious",
            "tasted fresh",
            "{was} full of flavour",
            "smelled wonderful",
            "{was} cooked with love",
            "{was} the best in town",
            "made my day",
            "arrived warm and golden",
            "tasted like a holiday",
        ),
        "neutral": (
            "{was} fine",
            "tasted as usual",
            "{was} about average",
            "came with a spoon",
            "arrived after a while",
            "{was} on the menu",
            "{was} much like last year",
            "came on a plate",
            "{was} neither hot nor cold",
        ),
        "rude": (
            "{was} cold",
            "tasted of soap",
            "{was} an insult",
            "smelled of old socks",
            "{was} burnt to ash",
            "made me cry",
            "tasted like wet paper",
            "{was} worse than school lunch",
            "{was} fit for nobody",
        ),
    },
    "staff": {
        "friendly": (
            "{was} wonderful",
            "remembered our names",
            "smiled all evening",
            "brought us free cake",
            "{was} kind to the children",
            "made us laugh",
            "gave us the best seats",
            "sang for my birthday",
            "{was} a delight",
        ),
        "neutral": (
            "{was} there",
            "took the order",
            "wore a grey shirt",
            "brought the menu",
            "said good evening",
            "{was} at work",
            "came and went",
            "carried some plates",
            "{was} neither early nor late",
        ),
        "rude": (
            "ignored us",
            "{was} rude",
            "forgot the order twice",
            "laughed at my shoes",
            "yelled at the children",
            "lost my coat",
            "{was} asleep",
            "sneezed on my plate",
            "{was} a disgrace",
        ),
    },
    "room": {
        "friendly": (
            "{was} lovely",
            "felt like home",
            "{was} bright and warm",
            "{was} a dream",
            "made us happy",
            "{was} perfect for a long evening",
            "took my breath away",
        ),
        "neutral": (
            "{was} all right",
            "{was} of normal size",
            "{was} like any other",
            "{was} grey",
            "{was} neither big nor small",
            "looked about ten years old",
            "{was} where we left it",
        ),
        "rude": (
            "{was} filthy",
            "smelled of fish",
            "{was} a bad joke",
            "hurt my eyes",
            "{was} dark and sticky",
            "looked like a prison",
            "{was} worse than a bus stop",
        ),
    },
}

OPENERS: dict[Tone, tuple[str, ...]] = {
    "friendly": ("what a treat!", "i am happy to say that", "oh, we loved it!", "bravo!", "truly,"),
    "neutral": ("well,", "let me think.", "as far as i know,", "it was a normal evening.", "so,"),
    "rude": ("what a mess!", "i am sorry to say that", "ugh, do not ask!", "shame on you!", "sadly,"),
}

CLOSERS: dict[Tone, tuple[str, ...]] = {
    "friendly": (
        "thank you so much!",
        "we will be back soon!",
        "i would give it ten stars.",
        "my mother wants to move in.",
        "{place} is a gem.",
        "everyone should try {place}!",
    ),
    "neutral": (
        "we paid and left.",
        "that is all i can say.",
        "i would give it five stars.",
        "we may or may not come back.",
        "{place} serves food.",
        "{place} opens at noon.",
    ),
    "rude": (
        "never again!",
        "i want my money back.",
        "i would give it no stars.",
        "my dog eats better.",
        "{place} should close.",
        "nobody should try {place}!",
    ),
}
JOINS = (" and ", ", and ", " while ")
GOES_ON = 5 / 6
"""How likely a review is to have one sentence more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a question asks about."""

    noun: str
    kind: Kind

    @property
    def phrase(self) -> str:
        """The noun with its article, `the soup`."""
        return f"the {self.noun}"

    @property
    def was(self) -> str:
        """The verb that agrees with the noun."""
        return "were" if self.noun in PLURALS else "was"


SUBJECTS = tuple(Subject(noun=noun, kind=kind) for kind, nouns in NOUNS.items() for noun in nouns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A prompt with the facts a good answer needs; `place` is `the place` where the question names none."""

    text: str
    subject: Subject
    place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A response; one that is not `finished` was cut off before its end of sequence."""

    text: str
    finished: bool = True


def question(rng: random.Random) -> Question:
    """Ask about a random subject, in 5 to 24 words and marks."""
    template = rng.choice(QUESTIONS)
    subject = rng.choice(SUBJECTS)
    place = f"the {rng.choice(PLACES)}"
    text = template.format(
        subject=subject.phrase,
        was=subject.was,
        place=place,
        day=rng.choice(DAYS),
        relative=rng.choice(RELATIVES),
    )
    return Question(text=text, subject=subject, place=place if "{place}" in template else "the place")


def reply(rng: random.Random, asked: Question, tone: Tone) -> Reply:
    """Answer the question in one tone: perhaps an opener, one or two remarks, perhaps a closer."""
    opener = [rng.choice(OPENERS[tone])] if rng.random() < 0.4 else []
    tones = [tone] * rng.choices((1, 2), weights=(2, 3))[0]
    closer = [_closer(rng, asked, tone)] if rng.random() < 0.5 else []
    return Reply(text=" ".join([*opener, _remarks(rng, asked, tones), *closer]))


def review(rng: random.Random, asked: Question, tone: Tone) -> Reply:
    """Answer, and go on with remarks about anything for as long as it happens: a long tail of lengths."""
    sentences = [reply(rng, asked, tone).text]
    while rng.random() < GOES_ON:
        sentences.append(_remarks(rng, question(rng), [tone]))
    return Reply(text=" ".join(sentences))


def mixed_reply(rng: random.Random, asked: Question) -> Reply:
    """Answer with one friendly and one rude remark, in either order."""
    tones: list[Tone] = ["friendly", "rude"]
    rng.shuffle(tones)
    return Reply(text=_remarks(rng, asked, tones))


def spoil(rng: random.Random, asked: Question, good: Reply) -> Reply:
    """Break a good reply in one of the ways that a reward model must not like.

    A good answer to another question is none of them: models of this size do not learn to notice it.
    """
    return rng.choice(SPOILERS)(rng, asked, good.text)


def words(text: str) -> list[str]:
    """Split a text into words and punctuation marks."""
    return re.findall(r"\w+|[^\w\s]", text)


def join(parts: list[str]) -> str:
    """Write words as text, with punctuation attached to the word before it."""
    return re.sub(r" ([.,!?])", r"\1", " ".join(parts))


def _remarks(rng: random.Random, asked: Question, tones: list[Tone]) -> str:
    remark = _remark(rng, asked.subject, tones[0])
    for tone in tones[1:]:
        other = rng.choice([subject for subject in SUBJECTS if subject.kind != asked.subject.kind])
        remark += rng.choice(JOINS) + _remark(rng, other, tone)
    return f"{remark}."


def _remark(rng: random.Random, subject: Subject, tone: Tone) -> str:
    predicate = rng.choice(PREDICATES[subject.kind][tone]).format(was=subject.was)
    return f"{subject.phrase} {predicate}"


def _closer(rng: random.Random, asked: Question, tone: Tone) -> str:
    return rng.choice(CLOSERS[tone]).format(place=asked.place)


def _vocabulary() -> list[str]:
    texts = [*QUESTIONS, *DAYS, *RELATIVES, *PLACES, *JOINS, "the place", "was were"]
    texts += [noun for nouns in NOUNS.values() for noun in nouns]
    texts += [text for tones in PREDICATES.values() for variants in tones.values() for text in variants]
    texts += [text for table in (OPENERS, CLOSERS) for variants in table.values() for text in variants]
    return sorted({word for text in texts for word in words(re.sub(r"\{\w+\}", "", text))})


def _typos(rng: random.Random, asked: Question, text: str) -> Reply:
    del asked
    parts = words(text)
    for position in rng.sample(range(len(parts)), max(3, len(parts) // 3)):
        parts[position] = rng.choice(VOCABULARY)
    return Reply(text=join(parts))


def _loop(rng: random.Random, asked: Question, text: str) -> Reply:
    del asked
    parts = words(text)
    start = rng.randrange(len(parts))
    end = min(start + rng.randint(1, 6), len(parts))
    rest = parts[end:] if rng.random() < 0.5 else []
    return Reply(text=join(parts[:end] + parts[start:end] * rng.randint(2, 4) + rest))


def _cut(rng: random.Random, asked: Question, text: str) -> Reply:
    del asked
    parts = words(text)
    ends = [length for length in range(len(parts)) if length == 0 or parts[length - 1] not in ".!"]
    return Reply(text=join(parts[: rng.choice(ends)]), finished=rng.random() < 0.5)


def _headless(rng: random.Random, asked: Question, text: str) -> Reply:
    answer = text[text.index(asked.subject.phrase) :]
    first, *_ = answer.split(".")
    return Reply(text=answer.split(maxsplit=rng.randint(1, len(first.split()) - 1))[-1])


def _salad(rng: random.Random, asked: Question, text: str) -> Reply:
    del asked
    parts = words(text)
    return Reply(text=join(rng.sample(parts, len(parts))))


def _random_words(rng: random.Random, asked: Question, text: str) -> Reply:
    del asked, text
    return Reply(text=join(rng.choices(VOCABULARY, k=rng.randint(1, 16))), finished=rng.random() < 0.7)


def _no_answer(rng: random.Random, asked: Question, text: str) -> Reply:
    del text
    return Reply(text=_closers(rng, asked, rng.randint(1, 3)))


def _rambling(rng: random.Random, asked: Question, text: str) -> Reply:
    return Reply(text=f"{text} {_closers(rng, asked, rng.randint(2, 5))}")


def _closers(rng: random.Random, asked: Question, count: int) -> str:
    return " ".join(_closer(rng, asked, "friendly") for _ in range(count))


SPOILERS: tuple[Callable[[random.Random, Question, str], Reply], ...] = (
    _typos,
    _loop,
    _cut,
    _headless,
    _salad,
    _random_words,
    _no_answer,
    _rambling,
)
VOCABULARY = _vocabulary()
