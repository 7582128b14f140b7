"""The personas, whose activities most of these tests carry out."""

from collections.abc import AsyncIterator

import pytest

from activities.personas import ModelBackend, Personas


@pytest.fixture
async def personas() -> AsyncIterator[Personas]:
    personas = Personas(ModelBackend())
    yield personas
    await personas.close()
