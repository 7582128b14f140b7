"""`starter.py doctor`: all that a living image needs, looked at at once, and what to do about it."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from pydantic import BaseModel
from temporalio.service import RPCError

from configuration.team import TEAM
from connection.problems import Problem
from desk.doctor import file_checks, model_checks, namespace_checks, worker_checks
from desk.doctor.finding import Absent, Check, Finding, Patient, State, Tell
from desk.problems import CANNOT, DONE, NO
from messages.common import excerpt

# The checks by name, in the order in which they are told.
CHECKS: Mapping[str, Check] = MappingProxyType(
    {
        "server": namespace_checks.server,
        "retention": namespace_checks.namespace_retention,
        "search attributes": namespace_checks.search_attributes,
        "task queues": worker_checks.task_queues,
        "versions": worker_checks.versions,
        "clock": namespace_checks.clock,
        "image": worker_checks.living_image,
        "settings": file_checks.settings_hold,
        "adopted": worker_checks.adopted_settings,
        "writable": file_checks.settings_writable,
        "models": model_checks.persona_models,
        "embedding model": model_checks.embedding_model,
        "snapshots": file_checks.snapshots_verify,
        "disk": file_checks.disk_space,
    }
)
# Each persona's model may have to be loaded; all else answers in milliseconds or not at all.
WITHIN_SECONDS = len(TEAM) * model_checks.ANSWER_SECONDS + 30

EXIT_CODE_OF: Mapping[State, int] = MappingProxyType({"ok": DONE, "warning": NO, "broken": CANNOT})


class Repair(BaseModel):
    """What `--fix` made of one finding: what it has `done`, or the `problem` it had."""

    check: str
    done: str = ""
    problem: str = ""


class Report(BaseModel):
    """All that was found. `not_checked`: names of checks, by what they miss. `repairs` were made before."""

    state: State
    findings: list[Finding]
    not_checked: dict[str, list[str]]
    repairs: list[Repair] = []

    @property
    def exit_code(self) -> int:
        return EXIT_CODE_OF[self.state]


async def examine(path: Path, state_dir: Path, checks: Mapping[str, Check] = CHECKS) -> Report:
    """Look at everything at once; no check keeps another from its answer."""
    patient = await Patient.meet(path, state_dir)
    answers = await asyncio.gather(*(_look(name, check, patient) for name, check in checks.items()))
    findings: list[Finding] = []
    not_checked: dict[str, list[str]] = {}
    for name, answer in zip(checks, answers, strict=True):
        if isinstance(answer, Absent):
            not_checked.setdefault(str(answer), []).append(name)
        else:
            findings += answer
    worst = max((finding.state for finding in findings), key=list(EXIT_CODE_OF).index, default="ok")
    return Report(state=worst, findings=findings, not_checked=not_checked)


async def _look(name: str, check: Check, patient: Patient) -> list[Finding] | Absent:
    try:
        async with asyncio.timeout(WITHIN_SECONDS):
            return await check(patient)
    except Absent as absent:
        return absent
    except TimeoutError:
        figure = f"no answer within {WITHIN_SECONDS} s"
    except RPCError as error:
        figure = f"the Temporal server does not say ({error.status.name}: {excerpt(error.message)})"
    except Exception as error:
        # A check that is wrong itself is told like any other; the rest of the report is worth having.
        figure = f"could not be looked at ({type(error).__name__}: {excerpt(str(error))})"
    advice = "Look again; if it stays, see the server's log, and whether this client may ask for it"
    return [Finding(check=name, state="broken", figure=figure, advice=advice)]


async def repair(report: Report, tell: Tell) -> list[Repair]:
    """Mend what is safe to mend, one thing after the other."""
    repairs = []
    for finding in report.findings:
        if finding.mend is None:
            continue
        try:
            repairs.append(Repair(check=finding.check, done=await finding.mend(tell)))
        except Problem as problem:
            repairs.append(Repair(check=finding.check, problem=str(problem)))
    return repairs
