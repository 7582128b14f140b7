"""The page of a dialogue."""

from messages.tasks import Dissonance, Transcript, Turn
from workflows.details.parts import LATEST, listed, more, page, section, table, told, value_text
from workflows.details.text import BLOCK_BYTES, line, prose


def dialogue_details(transcript: Transcript) -> str:
    """How far an argument has come."""
    by = f"Answered by {line(transcript.model_backend)}. " if transcript.model_backend else ""
    return page(
        f"Task {line(transcript.task_id)}",
        prose(transcript.task),
        f"<p>Now: <b>{line(transcript.speaking)}</b></p>" if transcript.speaking else "",
        f"<p>Failed: <b>{line(transcript.failure, 1_000)}</b></p>" if transcript.failure else "",
        told("ALFRED's plan", transcript.plan, 1_000),
        _recalled(transcript) if transcript.recalled_by else "",
        told("BABS's research", transcript.research, 1_000),
        *(_turns(transcript.turns) if transcript.turns else []),
        told("ALFRED's synthesis", transcript.synthesis, BLOCK_BYTES),
        f"<p>{by}The query <code>transcript</code>, on the tab Queries, shows every word.</p>",
    )


def _recalled(transcript: Transcript) -> str:
    items = [f"{line(item.task, 160)} {value_text(item.score)}" for item in transcript.recalled[:LATEST]]
    recalled = listed(items or ["nothing that bears on this task"]) + more(transcript.recalled, LATEST)
    return section("What BABS recalled", recalled, f"<p>By {line(transcript.recalled_by)}.</p>")


def _turns(turns: list[Turn]) -> list[str]:
    rows = [(str(turn.turn), *_dissonance(turn.dissonance)) for turn in turns]
    last = turns[-1]
    return [
        section("Thesis and antithesis", table(rows, ("turn", "how far apart", "dissonance"))),
        told(f"BRICK's thesis, turn {last.turn}", last.thesis),
        told(f"ROBIN's antithesis, turn {last.turn}", last.antithesis),
    ]


def _dissonance(dissonance: Dissonance) -> tuple[str, str]:
    label = (dissonance.label or f"none given {dissonance.missing}").replace("_", " ")
    return line(label, 160), value_text(dissonance.value)
