"""Records the histories that tests/workflows/test_replay.py replays: `python -m tests.record_histories`.

Real workflows on a real dev server; only the model is scripted. See tests/histories/README.md.
"""

import asyncio
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from configuration import Value
from messages.files import SnapshotReceipt
from messages.image import ImageStatus, ReloadReceipt
from messages.tasks import Assignment, LogReceipt
from messages.verification import VerificationView
from testbed.fake_ollama import FakeOllama
from testbed.world import exists, until
from tests.recorder import HISTORIES, Recorder
from tests.workflows import verified
from tests.workflows.servers import server_with_movable_clocks
from workflows.philosophical_loop import PhilosophicalLoop

OPPOSITE, PARTLY = "opposite", "partly_different"


async def record_dialogues_and_a_life(image: Recorder) -> None:
    """Every kind of dialogue, in the life of an image from its start to its retirement, over several runs."""
    await image.argue("converged-with-research", [OPPOSITE, PARTLY], research=True)
    await image.argue("max-turns", [OPPOSITE])
    await image.update("pause", {"reason": "lunch"}, ImageStatus)
    await image.submit("What waits?", task_id="waits")
    await image.update("resume", None, ImageStatus)
    await image.quiet()
    image.edit({"models.temperature": 0.8})
    await image.update("reload_settings", None, ReloadReceipt)
    image.ollama.fail("not_json", times=3, asks="dissonance")
    await image.argue("dissonance-missing", [PARTLY])
    image.ollama.fail("not_pulled", asks="text")
    await image.argue("failed", [PARTLY])
    await image.record_reasons()
    loop_id = await image.reflect()
    await image.decide(loop_id, "approve")
    await image.quiet()
    while (await image.status()).runs == 1:
        await image.update("resume", None, ImageStatus)  # so that history grows to its suggested end
    await image.argue("converged-after-an-approval", [PARTLY])
    waiting = await image.submit("Who is left?", task_id="left")
    await image.result(waiting)
    await image.update("retire", {"reason": "the end"}, ImageStatus)
    await image.image.result()
    await image.save_runs("living-image-a-life")


async def record_loops(image: Recorder) -> None:
    """Every way in which a philosophical loop ends, and what the image makes of each."""

    async def saved(title: str, loop_id: str) -> None:
        await image.loop(loop_id).result()
        await image.save(f"loop-{title}", loop_id)

    await saved("no-proposal", await image.reflect())
    await image.record_reasons()

    approved = await image.reflect()
    await image.decide(approved, "approve", changes={"autopoiesis.max_turns": 4}, comment="more room")
    await saved("approved-by-update", approved)
    await image.quiet()
    await image.record_reasons()

    by_signal = await image.reflect()
    await image.loop(by_signal).signal("approve", "Grace")
    await saved("approved-by-signal", by_signal)
    await image.quiet()
    await image.record_reasons()

    rejected = await image.reflect()
    await image.decide(rejected, "reject", comment="not now")
    await saved("rejected", rejected)
    await image.quiet()
    await image.record_reasons()

    stale = await image.reflect()
    await image.proposal(stale)
    image.edit({"autopoiesis.max_turns": 7})
    await image.decide(stale, "approve")
    await saved("stale", stale)
    await image.quiet()

    image.edit({"governance.approval_timeout": "1s"})
    await image.update("reload_settings", None, ReloadReceipt)
    await image.record_reasons()
    await saved("expired", await image.reflect())
    await image.quiet()

    image.edit({"governance.approval_timeout": "7d"})
    await image.update("reload_settings", None, ReloadReceipt)
    await image.record_reasons()
    image.file.write_text("this is no settings file\n")
    await saved("failed", await image.reflect())
    await image.quiet()
    await image.save_runs("living-image-with-loops")


async def record_remembering(image: Recorder) -> None:
    """A task whose research recalls an earlier one, by embeddings and then by shared words."""
    await image.argue("remembering-trees", [PARTLY], research=True)
    query = f"WorkflowId STARTS_WITH '{image.name}/task/' AND ExecutionStatus = 'Completed'"

    async def listed() -> bool:
        return (await image.client.count_workflows(query)).count > 0

    await until(listed)
    await image.argue("remembering-more-trees", [PARTLY], research=True)
    image.ollama.script.models = ["qwen2.5:7b", "llama3.1:8b"]
    await image.argue("remembering-trees-by-words", [PARTLY], research=True)


async def record_dreaming(image: Recorder) -> None:
    """An image sets itself a goal, saves itself when idle and when asked, and goes back to old settings."""

    async def dreamt_and_saved() -> bool:
        state = await image.state()
        return state.finished_count == 1 and state.keeping.saved_at is not None

    await until(dreamt_and_saved)
    await image.save("inquiry-a-goal", f"{image.name}/inquiry/1")
    image.edit({"autopoiesis.max_turns": 3, "motivator.goals": False})
    await image.update("reload_settings", None, ReloadReceipt)
    await image.update("revert_settings", {"revision": 1, "approver": "Ada"}, ReloadReceipt)
    await image.update("save_image", None, SnapshotReceipt)
    await image.update("retire", None, ImageStatus)
    await image.image.result()
    await image.save_runs("living-image-dreaming")


async def record_newborn(image: Recorder) -> None:
    """An image in which nothing happens for longer than `idle_after`, then something."""
    await asyncio.sleep(2.5)
    await image.ask("What came first?")

    async def saved() -> bool:
        keeping = (await image.state()).keeping
        return bool(keeping.saved_at and keeping.active_at and keeping.saved_at > keeping.active_at)

    await until(saved)
    await image.update("retire", None, ImageStatus)
    await image.image.result()
    await image.save_runs("living-image-newborn")


async def record_obstacles(image: Recorder) -> None:
    """A proposal and two approvals wait for settings.toml, which comes back, but once not in time."""
    elsewhere = image.file.with_name("elsewhere.toml")

    async def told(loop_id: str) -> None:
        async def heard() -> bool:
            return loop_id in (await image.status()).obstacles

        await until(heard)

    await image.record_reasons()
    image.file.rename(elsewhere)
    loop_id = await image.reflect()
    await told(loop_id)
    elsewhere.rename(image.file)
    await image.proposal(loop_id)
    image.file.rename(elsewhere)
    await image.loop(loop_id).signal("approve", "Ada")
    await told(loop_id)
    elsewhere.rename(image.file)
    await image.loop(loop_id).result()
    await image.save("loop-approved-after-obstacles", loop_id)
    await image.quiet()

    image.edit({"governance.approval_timeout": "6s"})
    await image.update("reload_settings", None, ReloadReceipt)
    await image.record_reasons()
    loop_id = await image.reflect()
    await image.proposal(loop_id)
    image.file.rename(elsewhere)
    await image.loop(loop_id).signal("approve", "Ada")
    await image.loop(loop_id).result()
    await image.save("loop-failed-by-an-obstacle", loop_id)
    elsewhere.rename(image.file)
    await image.quiet()
    await image.save_runs("living-image-obstructed")


async def record_trials(image: Recorder) -> None:
    """What a model suggests is tried, held back by a pause, judged, proposed and approved."""
    loop_id = await _approved_after_trials(image, break_one=False)
    await image.save("loop-approved-after-trials", loop_id)
    await image.save("dialogue-a-trial", f"{loop_id}/trial/1-1-1")
    await _retired_after_trials(image)
    await image.save_runs("living-image-trying")


async def record_tried(image: Recorder, title: str, *, break_one: bool) -> None:
    """The same without a trial's own history; `break_one`: the first candidate's first replay breaks."""
    loop_id = await _approved_after_trials(image, break_one=break_one)
    await image.save(f"loop-approved-{title}", loop_id)
    await _retired_after_trials(image)
    await image.save_runs(f"living-image-{title.removeprefix('after-')}")


async def _approved_after_trials(image: Recorder, *, break_one: bool) -> str:
    """The id of the loop."""
    image.ollama.script.labels_at = {
        "0.4": OPPOSITE,
        "0.5": OPPOSITE,
        "0.6": OPPOSITE,
        "0.7": PARTLY,
        "0.8": "same",
    }
    suggestion = {"changes": [{"key": "temperatures.robin", "value": 0.8}], "reason": "It may say more."}
    image.ollama.script.candidates = [suggestion]
    for number in range(4):
        await image.ask(f"Question {number}?", task_id=f"question-{number}")
    await image.quiet()
    loop_id = await image.reflect()

    async def tried() -> bool:
        return bool((await image.loop(loop_id).query(PhilosophicalLoop.proposal)).rounds)

    await until(tried)
    if break_one:
        replay = image.client.get_workflow_handle(f"{loop_id}/trial/1-1-1")
        await until(lambda: exists(replay))
        await replay.terminate("not this one")
    await image.update("pause", None, ImageStatus)
    await image.update("resume", None, ImageStatus)

    async def proposed() -> bool:
        return (await image.loop(loop_id).query(PhilosophicalLoop.proposal)).state == "pending"

    await until(proposed, 300)
    await image.decide(loop_id, "approve")
    await image.loop(loop_id).result()
    return loop_id


async def _retired_after_trials(image: Recorder) -> None:
    await image.update("rate_task", {"task_id": "question-0", "rating": 1.0, "rated_by": "Ada"}, dict)
    await image.quiet()
    await image.update("retire", None, ImageStatus)
    await image.image.result()


async def record_tasks_in_turn(image: Recorder) -> None:
    """One alarm for all of them: it rings for the first, and is set anew for the last."""
    for number in range(3):
        await image.ask(f"What of question {number}?", task_id=f"in-turn-{number}")
        await image.quiet()
        await asyncio.sleep(1)

    async def saved() -> bool:
        return bool((await image.status()).saved_at)

    await until(saved)
    await image.update("retire", None, ImageStatus)
    await image.image.result()
    await image.save_runs("living-image-in-turn")


async def record_ringing(image: Recorder) -> None:
    """It saves itself twice: what its alarm has rung for is due, and that is on record."""
    for number in (1, 2):
        await image.ask(f"What rings, {number}?", task_id=f"ringing-{number}")

        async def saved(generation: int = number) -> bool:
            return (await image.status()).saved_generation >= generation

        await until(saved)
    await image.update("retire", None, ImageStatus)
    await image.image.result()
    await image.save_runs("living-image-ringing")


async def record_verifying(image: Recorder) -> None:
    """An approved change does harm and is taken back; a person's own is verified, and they end that."""
    image.ollama.script = verified.script(verified.HARM)
    await image.record_reasons()
    await image.decide(await image.reflect(), "approve")
    await image.quiet()
    await verified.ask(image, verified.HARM, 0, 4)
    while (await image.status()).runs == 1:
        await image.update("resume", None, ImageStatus)  # so that it continues as new in the middle
    await verified.verdict_of(image, verified.HARM)
    loop_id = await verified.reversal(image)
    await image.ask(verified.task(50, ["a"]), task_id="pinned")
    await image.decide(loop_id, "approve")
    await image.loop(loop_id).result()
    await image.save("loop-reversal", loop_id)
    await image.save("dialogue-of-a-block", f"{image.name}/task/t1")
    await image.quiet()
    image.edit({"autopoiesis.convergence_threshold": 0.3})
    await image.update("reload_settings", None, ReloadReceipt)
    await image.update("verify_settings", None, VerificationView)
    await verified.ask(image, verified.HARM, 20, 2)
    await image.update("end_verification", {"action": "revert", "approver": "Ada"}, VerificationView)
    await image.update("retire", None, ImageStatus)
    await image.image.result()
    await image.save_runs("living-image-verifying")


async def record_looking(image: Recorder) -> None:
    """An approved change helps, as an activity finds at a look; another one is ended by its deadline."""
    image.ollama.script = verified.script(verified.HELP)
    await image.record_reasons()
    await image.decide(await image.reflect(), "approve")
    await image.quiet()
    await verified.verdict_of(image, verified.HELP)
    image.edit({"autopoiesis.convergence_threshold": 0.3})
    await image.update("reload_settings", None, ReloadReceipt)
    await image.update("verify_settings", None, VerificationView)
    await verified.ask(image, verified.HELP, 20, 2)

    async def ended() -> bool:
        return (await verified.verification(image)).verdict is not None

    await until(ended)
    await image.update("retire", None, ImageStatus)
    await image.image.result()
    await image.save_runs("living-image-looking")


async def record_assigning(image: Recorder) -> None:
    """Another program asks for its settings and hands in its logs while a change is verified, and after."""
    await image.record_reasons()
    await image.decide(await image.reflect(), "approve")
    await image.quiet()
    for number in range(6):
        given = await image.update("assign", {"task_id": f"theirs-{number}"}, Assignment)
        log = {"task_id": given.task_id, "turn_count": 1, "outcome": "max_turns"}
        measured = {"final_dissonance": 0.9 if given.arm == "new" else 0.1}
        await image.update("record_performance", log | measured, LogReceipt)
    await image.update("end_verification", {"action": "accept", "approver": "Ada"}, VerificationView)
    await image.update("assign", {"task_id": "after"}, Assignment)
    await image.update("retire", None, ImageStatus)
    await image.image.result()
    await image.save_runs("living-image-assigning")


TRYING: dict[str, Value] = {"optimizer.trial_tasks": 2, "optimizer.creator": "", "optimizer.judge": ""}
SCREENING = TRYING | {"optimizer.trial_tasks": 6, "optimizer.creator": "off"}
DREAMING: dict[str, Value] = {
    "motivator.goals": True,
    "motivator.idle_after": "1s",
    "motivator.goals_per_day": 1,
}
# Of each scene: events after which the image continues as new, what happens, and settings of its own.
SCENES: dict[str, tuple[int, Callable[[Recorder], Any], dict[str, Value]]] = {
    "arguing": (200, record_dialogues_and_a_life, {"system.max_concurrent_tasks": 1}),
    "reflecting": (4096, record_loops, {}),
    "remembering": (4096, record_remembering, {}),
    "obstructed": (4096, record_obstacles, {}),
    "newborn": (4096, record_newborn, {"motivator.idle_after": "1s"}),
    "dreaming": (4096, record_dreaming, DREAMING),
    "trying": (4096, record_trials, TRYING),
    "by-record": (
        4096,
        partial(record_tried, title="by-record", break_one=True),
        TRYING | {"optimizer.trial_tasks": 4},
    ),
    "screening": (4096, partial(record_tried, title="after-screening", break_one=False), SCREENING),
    "broken-mixture": (
        4096,
        partial(record_tried, title="after-a-broken-mixture", break_one=True),
        SCREENING,
    ),
    "assigning": (4096, record_assigning, {"optimizer.verify_blocks": 10}),
    "looking": (4096, record_looking, {"optimizer.verify_blocks": 10, "optimizer.verify_within": "20s"}),
    "in-turn": (4096, record_tasks_in_turn, {"motivator.idle_after": "3s"}),
    "ringing": (4096, record_ringing, {"motivator.idle_after": "1s"}),
    "verifying": (200, record_verifying, {"optimizer.verify_blocks": 10}),
}


# --- where they play ---


async def _record(name: str) -> None:
    events_a_run, scene, settings = SCENES[name]
    with TemporaryDirectory() as folder:
        async with await server_with_movable_clocks(events_a_run) as server, FakeOllama() as ollama:
            os.environ["OLLAMA_HOST"] = ollama.url
            async with Recorder(server.client, ollama, Path(folder), name, settings) as image:
                await scene(image)


async def main() -> None:
    """Record the scenes that are named, beside what is there; without a name all of them, in its place."""
    names = sys.argv[1:]
    for old in () if names else HISTORIES.glob("*.json"):
        old.unlink()
    for name in names or SCENES:
        await _record(name)


if __name__ == "__main__":
    asyncio.run(main())
