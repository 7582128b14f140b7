"""What a worker was asked for, and what is settled before it starts anything."""

import tempfile
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from activities.hosted import Files
from activities.settings_rewriting import check_writable
from configuration import Settings
from configuration.reading import load_settings
from connection.places import PROJECT, require_text
from connection.problems import Problem
from runtime.folders import Folders
from runtime.model_backend import Choice, choose


class Role(StrEnum):
    """What a worker does: persona calls and workflows, or the files of its machine, or both."""

    all = "all"
    compute = "compute"
    files = "files"


@dataclass(frozen=True)
class Options:
    """What was typed."""

    dev: bool
    settings: Path
    images: Path | None
    role: Role
    task_queue: str | None
    embedded_model: bool
    gguf: Path | None
    port: int
    ui_port: int
    state_dir: Path
    pinned: bool
    metrics: str
    log_json: bool
    door: int | None
    door_host: str
    door_cancels: bool


@dataclass(frozen=True)
class Prepared:
    """What is settled before anything is started. Without `model` no compute, without `files` no files.

    `settings`: those of the only image. `folders`: those of many.
    """

    options: Options
    task_queue: str
    settings: Settings | None
    folders: Folders | None
    files: Files | None
    model: Choice | None


def prepare(options: Options) -> Prepared:
    """Read the settings and find out which model answers.

    Raises Problem, InvalidSettings, SettingsUnreadable, SettingsNotWritable.
    """
    if options.gguf and not options.dev:
        raise Problem("--gguf is for --dev; a plain worker asks Ollama")
    if options.images is not None and options.role is Role.compute:
        raise Problem(
            "--images is for a worker that handles files; `--role compute` needs --task-queue alone"
        )
    if options.task_queue and options.images is None and (options.dev or options.role is not Role.compute):
        raise Problem(
            "--task-queue is for --images, or `--role compute` without --dev; the settings file names it"
        )
    if options.door is not None and (options.task_queue or options.images or options.role is Role.files):
        raise Problem("--door is for a worker that thinks and has a settings file, which names its image")
    places = (options.settings, options.images or options.settings, options.state_dir)
    require_text(PROJECT, *(place.absolute() for place in places))
    folders = Folders(options.images, options.task_queue) if options.images else None
    settings = None if folders or options.task_queue else load_settings(options.settings)
    files: Files | None = None if options.role is Role.compute else options.settings
    if folders:
        files = folders.hosted
    elif files is not None:
        check_writable(options.settings)
    if options.dev:
        _make_folder(options.state_dir)
    model = None
    if options.role is not Role.files:
        several = folders.settings() if folders else [settings] if settings else []
        models = (each.models for each in several)
        model = choose(models, may_embed=options.embedded_model, gguf=options.gguf)
    named = folders.task_queue if folders else settings.system.task_queue if settings else None
    return Prepared(options, named or options.task_queue or "", settings, folders, files, model)


def _make_folder(state_dir: Path) -> None:
    try:
        state_dir.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=state_dir).close()
    except OSError as error:
        raise Problem(
            f"{state_dir} cannot be written ({error.strerror}); choose another folder with --state-dir"
        ) from None
