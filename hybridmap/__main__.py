"""Parse the command line, call one command, and turn its errors into exit codes.

Exit codes: 0 done, 1 a run failed, 2 the input is wrong, 3 no feasible plan.
"""

import argparse
import json
import sys
from collections.abc import Sequence

from hybridmap import (
    compare,
    diff,
    explain,
    listing,
    new,
    plan,
    profile,
    reproduce,
    run,
    simulate,
    validate,
)
from hybridmap.answers import refusal_answer
from hybridmap.screen import errors_console
from planner.errors import InfeasibleError, PlanMismatchError, PlannerError, SpecError, WorkerError

_COMMANDS = (plan, simulate, explain, diff, run, profile, compare, validate, reproduce, listing, new)
_FAILED, _WRONG_INPUT, _INFEASIBLE, _INTERRUPTED = 1, 2, 3, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        options.command(options)
    except InfeasibleError as error:
        return _report(error, options, code=_INFEASIBLE, status="infeasible")
    except (SpecError, PlanMismatchError) as error:
        return _report(error, options, code=_WRONG_INPUT, status="wrong input")
    except WorkerError as error:
        if error.traceback:
            sys.stderr.write(error.traceback.rstrip() + "\n")
        return _report(error, options, code=_FAILED, status="failed")
    except PlannerError as error:
        return _report(error, options, code=_FAILED, status="failed")
    except KeyboardInterrupt:
        errors_console().print("interrupted")
        return _INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return _FAILED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hybridmap", description="Plan, simulate and run RL post-training of LLMs."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in _COMMANDS:
        command.add_parser(commands)
    return parser


def _report(error: PlannerError, options: argparse.Namespace, *, code: int, status: str) -> int:
    if getattr(options, "json", False):
        details = refusal_answer(error) if isinstance(error, InfeasibleError) else {}
        answer = {"status": status, "reason": str(error), **details}
        sys.stdout.write(json.dumps(answer, sort_keys=True) + "\n")
    label = {"infeasible": "no feasible plan", "failed": "failed"}.get(status, "error")
    errors_console().print(f"{label}: {error}", markup=False, highlight=False, soft_wrap=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
