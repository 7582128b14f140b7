"""The page of a dialogue."""

from messages.tasks import Dissonance, Transcript
from workflows.details.parts import LATEST, listed, more, page, section, table, value_text
from workflows.details.text import BLOCK_BYTES, line, prose


def dialogue_details(transcript: Transcript) -> str:
    """How far an argument has come."""
    parts = [prose(transcript.task)]
    if transcript.speaking:
        parts.append(f"<p>Now: <b>{line(transcript.speaking)}</b></p>")
    if transcript.failure:
        parts.append(f"<p>Failed: <b>{line(transcript.failure, 1_000)}</b></p>")
    if transcript.plan:
        parts.append(section("ALFRED's plan", prose(transcript.plan, 1_000)))
    if transcript.recalled_by:
        told = [f"{line(item.task, 160)} {value_text(item.score)}" for item in transcript.recalled[:LATEST]]
        by = f"<p>By {line(transcript.recalled_by)}.</p>"
        recalled = listed(told or ["nothing that bears on this task"]) + more(transcript.recalled, LATEST)
        parts.append(section("What BABS recalled", recalled, by))
    if transcript.research:
        parts.append(section("BABS's research", prose(transcript.research, 1_000)))
    if transcript.turns:
        last = transcript.turns[-1]
        turns = [(str(turn.turn), *_dissonance(turn.dissonance)) for turn in transcript.turns]
        parts += [
            section("Thesis and antithesis", table(turns, ("turn", "how far apart", "dissonance"))),
            section(f"BRICK's thesis, turn {last.turn}", prose(last.thesis)),
            section(f"ROBIN's antithesis, turn {last.turn}", prose(last.antithesis)),
        ]
    if transcript.synthesis:
        parts.append(section("ALFRED's synthesis", prose(transcript.synthesis, BLOCK_BYTES)))
    by = f"Answered by {line(transcript.model_backend)}. " if transcript.model_backend else ""
    parts.append(f"<p>{by}The query <code>transcript</code>, on the tab Queries, shows every word.</p>")
    return page(f"Task {line(transcript.task_id)}", *parts)


def _dissonance(dissonance: Dissonance) -> tuple[str, str]:
    label = (dissonance.label or f"none given {dissonance.missing}").replace("_", " ")
    return line(label, 160), value_text(dissonance.value)
