"""How a workflow asks a persona: one activity, one call of a model."""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from configuration import Settings
    from messages.calls import PersonaCall
    from messages.common import Persona

# A worker that was killed is noticed this long after its last heartbeat; persona calls send one each second.
HEARTBEAT_TIMEOUT = timedelta(seconds=4)
# How often a call is tried is decided by its failure, see activities/failures.py.
RETRY = RetryPolicy(initial_interval=timedelta(milliseconds=200), maximum_interval=timedelta(seconds=30))


def persona_call(settings: Settings, persona: Persona, words: str, fields: dict[str, str]) -> PersonaCall:
    """A call of a persona's model under these settings. `words` is an entry of prompts.toml."""
    models = settings.models
    return PersonaCall(
        persona=persona,
        words=words,
        fields=fields,
        model=models.by_persona()[persona],
        host=models.host,
        temperature=models.temperature,
        max_answer_tokens=models.max_answer_tokens,
        context_tokens=models.context_tokens,
        timeout_seconds=models.call_timeout.total_seconds(),
        max_concurrent_calls=models.max_concurrent_calls,
    )


def patience(settings: Settings) -> timedelta:
    """How long a call may take with its wait: it watches `call_timeout` itself, behind other dialogues."""
    return settings.models.call_timeout * (settings.system.max_concurrent_tasks + 1)
