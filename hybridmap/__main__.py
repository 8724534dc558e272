"""Parse the command line, call one command, and turn its errors into exit codes.

Exit codes: 0 done, 1 a run failed, 2 the input is wrong, 3 no feasible plan, 130 interrupted.

Only the command that is named is imported, so that help and mistakes are quick, and inside `main`, so that an
interrupt is one wherever it comes.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from hybridmap.output import UnwrittenError, answering, drop
from hybridmap.refusals import say, tell
from planner.errors import InfeasibleError, PlanMismatchError, PlannerError, SpecError, WorkerError

_COMMANDS = {
    "plan": ("plan", "choose placement and parallel sizes, with a proof"),
    "simulate": ("simulate", "play a plan's iterations event by event, and its whole job"),
    "explain": ("explain", "what decides a plan, what a demand costs, what would help"),
    "sweep": ("sweep", "make a what-if table over a grid of settings"),
    "diff": ("diff", "say what differs between two plans"),
    "run": ("run", "train for real, as planned, and compare with the prediction"),
    "profile": ("profile", "measure this machine's devices and a scenario's calls"),
    "compare": ("compare", "hold a plan's prediction against a run"),
    "validate": ("validate", "score the cost model on measured rows"),
    "reproduce": ("reproduce", "hold the planner against the paper's evaluation"),
    "list": ("listing", "show known models, devices, stacks, algorithms, scenarios"),
    "new": ("new", "print or write a commented scenario to start from"),
}
"""Each with its module and what it does."""
_FAILED, _WRONG_INPUT, _INFEASIBLE, _INTERRUPTED = 1, 2, 3, 130


class _Parser(argparse.ArgumentParser):
    """A parser whose mistakes are errors like all others."""

    def error(self, message: str) -> NoReturn:
        """Refuse the command line."""
        raise SpecError(f"command line: {message}; see {self.prog} --help")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    is_json = "--json" in words
    try:
        return _answered(words, is_json=is_json)
    except KeyboardInterrupt:
        tell("interrupted")
        return _INTERRUPTED
    except UnwrittenError as error:
        drop()
        if not isinstance(error.__cause__, BrokenPipeError):
            tell(f"failed: the answer cannot be written: {error}")
        return _FAILED


def _answered(words: list[str], *, is_json: bool) -> int:
    """The exit code of one command, once all that it says is written."""
    if sys.stdout is None:
        raise UnwrittenError("standard output is closed")
    try:
        return _done(words, is_json=is_json)
    finally:
        with answering():
            sys.stdout.flush()


def _done(words: list[str], *, is_json: bool) -> int:
    """The exit code of one command."""
    options = _options(words, is_json=is_json)
    try:
        options.command(options)
    except InfeasibleError as error:
        return say(error, is_json=is_json, code=_INFEASIBLE, status="infeasible")
    except (SpecError, PlanMismatchError) as error:
        return say(error, is_json=is_json, code=_WRONG_INPUT, status="wrong input")
    except WorkerError as error:
        if error.traceback:
            tell(error.traceback.rstrip())
        return say(error, is_json=is_json, code=_FAILED, status="failed")
    except PlannerError as error:
        return say(error, is_json=is_json, code=_FAILED, status="failed")
    except OSError as error:
        return say(PlannerError(str(error) or repr(error)), is_json=is_json, code=_FAILED, status="failed")
    return 0


def _options(words: list[str], *, is_json: bool) -> argparse.Namespace:
    """What the words ask for; where they are wrong, leave as argparse does."""
    try:
        return _parser(words).parse_args(words)
    except SpecError as error:
        sys.exit(say(error, is_json=is_json, code=_WRONG_INPUT, status="wrong input"))


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """The parser of all commands, with the options of the one that the words name."""
    parser = _Parser(prog="hybridmap", description="Plan, simulate and run RL post-training of LLMs.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    named = words[0] if words else None
    for name, (module, what) in _COMMANDS.items():
        if name == named:
            import_module(f"hybridmap.{module}").add_parser(commands)
        else:
            commands.add_parser(name, help=what)
    return parser


if __name__ == "__main__":
    sys.exit(main())
