"""Whether a reward function takes what it is called with: told by its code, or once it is loaded."""

import ast
import inspect
from collections.abc import Iterable, Iterator, Sequence
from inspect import Parameter
from pathlib import Path

from planner.domain.run import RewardFunctionSettings, Signature
from planner.errors import SpecError
from runtime.data import Prompt
from runtime.reward_signatures import ADAPTERS, Samples, columns_of


def signature_for(
    settings: RewardFunctionSettings, parameters: inspect.Signature, prompts: Sequence[Prompt]
) -> Signature:
    """The signature that the settings name, or that the names of the function's parameters tell.

    Parameters
    ----------
    prompts
        Of the run, whose columns a function may take.

    Raises
    ------
    SpecError
        The names tell none, or the function can't be called with the signature's arguments.
    """
    where = f"{settings.path}: {settings.name}"
    signature = settings.signature or _told(parameters, where)
    nothing = Samples(
        prompts=prompts[:1],
        prompt_tokens=[[]],
        response_tokens=[[]],
        tokenizer=_SilentTokenizer(),
        columns=columns_of(prompts),
    )
    (known,) = ADAPTERS[signature].calls(nothing)
    taken = {name: known[name] for name in accepted(parameters, known)}
    try:
        parameters.bind(**taken, **settings.arguments)
    except TypeError as error:
        raise SpecError(f"{where}: {error}; it is called with {', '.join(known)}") from None
    return signature


def accepted(parameters: inspect.Signature, names: Iterable[str]) -> list[str]:
    """Those of our arguments' names that a function has parameters for."""
    if any(each.kind is each.VAR_KEYWORD for each in parameters.parameters.values()):
        return list(names)
    return [name for name in names if name in parameters.parameters]


def written_parameters(settings: RewardFunctionSettings) -> inspect.Signature | None:
    """Parameters of a function as its file writes them, which isn't run; all defaults are None here.

    None where only running it would show them: its code is broken, or the function is imported, decorated or
    bound more than once.
    """
    try:
        module = ast.parse(Path(settings.path).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None
    match [node for node in ast.walk(module) if _binds(node, settings.name)]:
        case [ast.FunctionDef(args=written, decorator_list=[])]:
            return inspect.Signature(list(_parameters(written)))
        case [ast.AsyncFunctionDef(args=written, decorator_list=[])]:
            return inspect.Signature(list(_parameters(written)))
    return None


class _SilentTokenizer:
    """Stands for a tokenizer where only the names of arguments matter."""

    chat_template = None

    def decode(self, tokens: Sequence[int], *, skip_special_tokens: bool) -> str:
        """No text."""
        return ""


def _told(parameters: inspect.Signature, where: str) -> Signature:
    names = parameters.parameters
    for signature, adapter in ADAPTERS.items():
        if adapter.parameter in names:
            return signature
    wanted = ", ".join(f"{adapter.parameter} ({signature})" for signature, adapter in ADAPTERS.items())
    raise SpecError(
        f"{where}({', '.join(names)}): takes none of {wanted}; rename a parameter or say `signature:`"
    )


def _binds(node: ast.AST, name: str) -> bool:
    """Whether a part of a module gives the name a value, wherever it stands."""
    match node:
        case ast.FunctionDef(name=bound) | ast.AsyncFunctionDef(name=bound) | ast.ClassDef(name=bound):
            return bound == name
        case ast.Name(id=bound, ctx=ast.Store()):
            return bound == name
        case ast.alias(name=imported, asname=renamed):
            return (renamed or imported) in (name, "*")
    return False


def _parameters(written: ast.arguments) -> Iterator[Parameter]:
    positional = [*written.posonlyargs, *written.args]
    required = len(positional) - len(written.defaults)
    for number, each in enumerate(positional):
        is_named = number >= len(written.posonlyargs)
        kind = Parameter.POSITIONAL_OR_KEYWORD if is_named else Parameter.POSITIONAL_ONLY
        yield Parameter(each.arg, kind, default=Parameter.empty if number < required else None)
    if written.vararg:
        yield Parameter(written.vararg.arg, Parameter.VAR_POSITIONAL)
    for each, default in zip(written.kwonlyargs, written.kw_defaults, strict=True):
        yield Parameter(
            each.arg, Parameter.KEYWORD_ONLY, default=Parameter.empty if default is None else None
        )
    if written.kwarg:
        yield Parameter(written.kwarg.arg, Parameter.VAR_KEYWORD)
