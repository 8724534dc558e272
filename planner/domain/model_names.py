"""Names of catalog models as measured rows and model hubs write them."""

import re
from collections.abc import Iterable, Mapping

VARIANT_WORDS = frozenset(
    {"base", "chat", "coder", "hf", "instruct", "it", "math", "meta", "python", "thinking"}
    | {"awq", "bf16", "bfloat16", "fp16", "fp8", "gptq", "int4", "int8"}
)
"""Parts of a name that change a model's weights but not its shape; ``meta`` is Meta's prefix of Llama."""

_VERSION = re.compile(r"v0\.\d+|\d{4}")
"""Of weights: ``v0.1``, or year and month."""
_SIZE = re.compile(r"(\d+x)?\d+(\.\d+)?[bm]")
_SEPARATOR = re.compile(r"[-_\s]+")


def matching_models(reference: str, names: Mapping[str, Iterable[str]]) -> list[str]:
    """The catalog models that a name can mean; one when it is clear.

    Organisation, case, separators and variants are ignored; a name that states a size may leave out what
    follows it in the catalog's.

    Parameters
    ----------
    names
        Catalog names, each with its aliases.

    >>> catalog = {"llama-3.1-8b": ["Llama-3-8B"], "llama-3.1-70b": [], "qwen3-235b-a22b": []}
    >>> matching_models("meta-llama/Llama-3.1-8B-Instruct", catalog)
    ['llama-3.1-8b']
    >>> matching_models("LLAMA3.1_8B", catalog), matching_models("Qwen3-235B", catalog)
    (['llama-3.1-8b'], ['qwen3-235b-a22b'])
    >>> matching_models("llama 3.1", catalog)
    []
    """
    parts = _shape_words(reference)
    wanted = "".join(parts)
    forms = {name: [_shape_words(text) for text in (name, *aliases)] for name, aliases in names.items()}
    exact = [name for name, texts in forms.items() if any("".join(words) == wanted for words in texts)]
    if exact or not any(map(_SIZE.fullmatch, parts)):
        return exact
    return [name for name, texts in forms.items() if any(_begins(words, wanted) for words in texts)]


def shape_name(reference: str) -> str:
    """What is left of a name without organisation and variants."""
    return "-".join(_shape_words(reference))


def _shape_words(reference: str) -> list[str]:
    last = reference.casefold().rstrip("/").rpartition("/")[2]
    words = [word for word in _SEPARATOR.split(last) if word]
    return [word for word in words if word not in VARIANT_WORDS and not _VERSION.fullmatch(word)]


def _begins(words: list[str], wanted: str) -> bool:
    """Whether whole words at the beginning spell what is wanted."""
    return any("".join(words[:count]) == wanted for count in range(1, len(words)))
