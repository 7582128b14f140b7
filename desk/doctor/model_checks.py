"""Whether the models that settings.toml names are there and answer, asked from this machine."""

import asyncio
import time

from activities.model_server.client import NOT_OLLAMA, ResponseError, model_client, reach, refuses_think
from activities.model_server.context_window import LEAST_WINDOW
from configuration import ModelSettings
from connection.model_server import NoModel, NoServer, is_pulled, pulled_models
from connection.problems import Problem
from desk.client import Desk
from desk.doctor.finding import FIX, Absent, Finding, Patient, State, Tell, broken
from messages.common import excerpt

# A model of the size meant here is loaded within that on most machines; tasks allow [models] call_timeout.
ANSWER_SECONDS = 60


async def persona_models(patient: Patient) -> list[Finding]:
    models = patient.settings.models
    host = reach(models.host)
    try:
        pulled = await pulled_models(host)
    except NoModel as problem:
        findings = [broken("models", problem)]
    else:
        # One after the other: together they could be more than the memory there holds.
        findings = [
            await _persona_model(host, model, personas, pulled)
            for model, personas in _speakers(models).items()
        ]
    if all(finding.state == "ok" for finding in findings):
        return findings
    embedded = await _embedded(patient)
    return [_softened(finding, embedded) for finding in findings] if embedded else findings


def _speakers(models: ModelSettings) -> dict[str, str]:
    """Which personas speak with each model."""
    speakers: dict[str, list[str]] = {}
    for persona, model in models.by_persona().items():
        speakers.setdefault(model, []).append(persona)
    return {model: ", ".join(personas) for model, personas in speakers.items()}


async def _persona_model(host: str, model: str, personas: str, pulled: set[str]) -> Finding:
    check = f"model {model}"
    if not is_pulled(model, pulled):
        return _missing(host, model, f"{personas} cannot speak", "broken")
    began = time.perf_counter()
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            try:
                await _ask(host, model, think=False)
            except ResponseError as error:
                if not refuses_think(error):
                    raise
                await _ask(host, model, think=None)
    except TimeoutError:
        return Finding(
            check=check,
            state="warning",
            figure=f"no answer within {ANSWER_SECONDS} s for {personas} at {host}",
            advice="It may still be loading: look again. Else see Ollama's log, or use a smaller model",
        )
    except (ResponseError, *NOT_OLLAMA) as error:
        return Finding(
            check=check,
            state="broken",
            figure=f"{host} has it, but asking it failed ({excerpt(str(error) or repr(error))})",
            advice=f"{personas} cannot speak. See Ollama's log, or name another model in [models]",
        )
    seconds = time.perf_counter() - began
    return Finding(check=check, figure=f"answers for {personas} at {host}, in {seconds:.2f} s")


async def _ask(host: str, model: str, think: bool | None) -> None:
    """Have the model say one token, the way it is asked when a persona speaks."""
    async with model_client(host) as client:
        await client.chat(
            model=model,
            messages=[{"role": "user", "content": "Say yes."}],
            think=think,
            options={"temperature": 0.0, "num_predict": 1, "num_ctx": LEAST_WINDOW},
        )


async def embedding_model(patient: Patient) -> list[Finding]:
    models = patient.settings.models
    host, model = reach(models.host), models.embedding
    try:
        pulled = await pulled_models(host)
    except NoServer:
        raise Absent("no Ollama") from None
    except NoModel:
        raise Absent("no Ollama that can be asked") from None
    if is_pulled(model, pulled):
        return [Finding(check=f"model {model}", figure=f"is there for the memory, at {host}")]
    return [_missing(host, model, "what is remembered is found by shared words instead", "warning")]


def _missing(host: str, model: str, consequence: str, state: State) -> Finding:
    async def mend(tell: Tell) -> str:
        tell(f"pulling {model}")
        try:
            async with model_client(host) as client:
                async for progress in await client.pull(model, stream=True):
                    tell(f"pulling {model}: {progress.status or ''}", progress.completed, progress.total)
        except (ResponseError, *NOT_OLLAMA) as error:
            raise Problem(
                f"{model} cannot be pulled at {host} ({excerpt(str(error) or repr(error))}); "
                "correct its name in [models], or see Ollama's log"
            ) from None
        return f"pulled {model} at {host}"

    return Finding(
        check=f"model {model}",
        state=state,
        figure=f"not at {host}; {consequence}",
        advice=f"Pull it: {FIX}, or `ollama pull {model}`; or name another in [models]",
        mend=mend,
    )


async def _embedded(patient: Patient) -> str:
    """What the image says of its model if that is an embedded one; nothing where it cannot be asked."""
    try:
        image = Desk(patient.client, patient.settings.system.image_id)
        answers = (await image.status()).model_backend
    except (Absent, Problem):
        return ""
    return answers if answers.startswith("embedded ") else ""


def _softened(finding: Finding, embedded: str) -> Finding:
    if finding.state != "broken":
        return finding
    figure = f"{finding.figure}. The image's model was last: {embedded}"
    otherwise = finding.advice[:1].lower() + finding.advice[1:]
    advice = f"Nothing, if that will do. For a better one: {otherwise}; then start the worker again"
    return finding.model_copy(update={"state": "warning", "figure": figure, "advice": advice})
