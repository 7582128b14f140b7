"""One plain call of ALFRED's model, for what front ends ask on the side: no argument, and no task."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

from temporalio.exceptions import ApplicationError

from activities.failures import SingleAttempt
from activities.personas import Personas
from configuration import Settings
from door.answers import End, Event
from door.refusals import closing, failed
from door.requests import Message
from door.telling import Words
from messages.calls import PersonaCall, Speech
from messages.image import SettingsView

WHO = "ALFRED"
LISTEN_EVERY_SECONDS = 0.2
_ROLES = {"developer": "system", "tool": "user", "function": "user"}


class Plain:
    """Plain answers of this worker's model, in its turn among the personas' calls.

    `settings`: those of the file; `present` tells which the image holds now.
    """

    def __init__(
        self, personas: Personas, settings: Settings, present: Callable[[], Awaitable[SettingsView]]
    ) -> None:
        self._personas = personas
        self._settings = settings
        self._present = present
        self._answering: set[asyncio.Task[Speech]] = set()
        self._closing = False

    async def answer(self, said: Sequence[Message], streams: bool) -> AsyncGenerator[Event]:
        """The answer, word by word if it streams. Raises Refusal."""
        call = PersonaCall.under(await self._present_settings(), WHO, "", {})
        messages = [
            {"role": _ROLES.get(message.role, message.role), "content": message.content} for message in said
        ]
        attempt, words = SingleAttempt(WHO), Words()
        if self._closing:  # it began to close while the image was asked
            raise closing()
        answering = asyncio.create_task(self._personas.answer(attempt, call, messages))
        self._answering.add(answering)
        try:
            while streams and not answering.done():
                await asyncio.wait({answering}, timeout=LISTEN_EVERY_SECONDS)
                if more := words.more(attempt.said()):
                    yield "content", more
            speech = await answering
        except ApplicationError as error:
            raise failed(error.type or "", error.message) from None
        except asyncio.CancelledError:
            if self._closing:
                raise closing() from None
            raise
        finally:
            self._answering.discard(answering)
            answering.cancel()  # whoever asked may have gone, and the slot is free for others
        yield "content", words.rest(speech.text)
        usage = speech.usage
        yield End(usage.tokens_in, usage.tokens_out, {"model_backend": usage.model_backend})

    def close(self) -> None:
        """Give up what is being answered."""
        self._closing = True
        for answering in self._answering:
            answering.cancel()

    async def _present_settings(self) -> Settings:
        values = (await self._present()).values
        known = [key for key in self._settings.flat() if key.startswith(("models.", "temperatures."))]
        return self._settings.with_changes({key: values[key] for key in known if key in values})
