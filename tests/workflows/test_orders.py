"""What workflows order is what the workers do: by name, argument and answer, with nothing left over."""

import inspect
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints

from temporalio import activity
from temporalio.client import Client
from temporalio.worker import Worker

from activities.memory.recall import Memory
from activities.memory.store import MemoryStore
from activities.model_server.backend import ModelBackend
from activities.personas import Personas
from runtime.workers import compute_worker, files_worker
from workflows.orders import files, thinking


def ordered(orders: ModuleType) -> dict[str, tuple[Any, Any]]:
    """By the name of each order of a module: the types of what the activity is given, and its answer's."""
    found = {}
    for name, function in inspect.getmembers(orders, inspect.iscoroutinefunction):
        if function.__module__ != orders.__name__ or name.startswith("_"):
            continue
        hints = get_type_hints(function)
        first = list(inspect.signature(function).parameters)[:1]
        found[name] = ([hints[parameter] for parameter in first], hints["return"])
    return found


def done_by(worker: Worker) -> dict[str, tuple[Any, Any]]:
    """The same of each activity that a worker has registered, as Temporal reads its signature."""
    found = {}
    for function in worker.config()["activities"]:
        definition = activity._Definition.must_from_callable(function)
        found[str(definition.name)] = (definition.arg_types, definition.ret_type)
    return found


async def test_each_order_is_an_activity_of_a_worker_and_each_activity_is_ordered(
    client: Client, tmp_path: Path
) -> None:
    store = MemoryStore(tmp_path / "memory.db")
    memory = Memory(client, ModelBackend(), store)
    compute = compute_worker(client, "queue", Personas(ModelBackend()), memory)
    assert ordered(thinking) == done_by(compute)
    assert ordered(files) == done_by(files_worker(client, "queue", tmp_path / "settings.toml", store))
