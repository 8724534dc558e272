"""What is said of an error: one line for people, and one JSON object for ``--json``."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any

from hybridmap.output import write
from planner.errors import BrokenPlanError, InfeasibleError, PlannerError

_LABELS = {"infeasible": "no feasible plan", "failed": "failed"}


def say(error: PlannerError, *, is_json: bool, code: int, status: str) -> int:
    """Say what is wrong; returns the exit code."""
    if is_json:
        details = refusal_answer(error) if isinstance(error, InfeasibleError) else {}
        answer = {"status": status, "reason": str(error), **details}
        write(json.dumps(answer, sort_keys=True) + "\n")
    tell(f"{_LABELS.get(status, 'error')}: {error}")
    return code


def tell(words: str) -> None:
    """Write to standard error, if there is one."""
    if sys.stderr is not None:
        sys.stderr.write(f"{words}\n")


def refusal_answer(error: InfeasibleError) -> dict[str, Any]:
    """Why nothing fits and what would help; or which rules a given plan breaks."""
    answer: dict[str, Any] = {"reason": error.reason, "fix": error.fix}
    if isinstance(error, BrokenPlanError):
        return answer | {"violations": [{"rule": rule, "message": words} for rule, words in error.violations]}
    short = error.shortage
    shortage = {**asdict(short), "bytes_short": short.bytes_short} if short else None
    return answer | {"shortage": shortage, "fixes": [asdict(fix) for fix in error.fixes]}
