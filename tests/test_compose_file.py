"""What the compose file and the Dockerfile promise, read from them and by Docker Compose itself."""

import asyncio
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from connection.namespace import RETENTION, type_name
from connection.server import target
from door.opening import DEFAULT_PORT, TOKEN
from door.requests import CHAT, CHORE, MESSAGE, PLAIN
from messages.names import SEARCH_ATTRIBUTES
from testbed.processes import ROOT
from tests.cluster import COMPOSE, COMPOSE_FILE, SERVICES, dockerfile, interpolated

WORKERS = ("files", "compute", "door")
LONG_LIVED = ("postgres", "temporal", "ui", "ollama", "chat", "prometheus", "grafana", *WORKERS)
ONCE = ("schema", "namespace")
PROFILES = [word for name in ("desk", "chat", "metrics") for word in ("--profile", name)]


def compose_command() -> list[str]:
    """Docker Compose, as a plugin or as a program of its own."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]):
            found = subprocess.run([*command, "version"], capture_output=True, check=False)
            if found.returncode == 0:
                return command
    pytest.skip("needs Docker Compose, which `make test` installs on Debian; no Docker engine is needed")


def config(**environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        [*compose_command(), "-f", str(COMPOSE_FILE), *PROFILES, "config"],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )


def test_docker_compose_takes_the_file() -> None:
    taken = config(POSTGRES_PASSWORD="secret")
    assert taken.returncode == 0, taken.stderr
    assert yaml.safe_load(taken.stdout)["services"].keys() == SERVICES.keys()


def test_docker_compose_refuses_to_run_without_a_password_and_says_what_to_do() -> None:
    refused = config()
    assert refused.returncode != 0
    assert "set POSTGRES_PASSWORD in the environment or in .env" in refused.stderr


def test_no_secret_has_a_default() -> None:
    secrets = {
        (service, name): value
        for service, described in SERVICES.items()
        for name, value in described.get("environment", {}).items()
        if re.search("PASSWORD|PWD|KEY|SECRET|TOKEN", name)
    }
    with_secrets = {service for service, _ in secrets}
    assert with_secrets == {"postgres", "schema", "temporal", "files", "compute", "desk", "door", "chat"}
    for value in secrets.values():
        # Without a key nothing is signed or encrypted, and without a token the door stays shut.
        optional = re.search("LIVING_IMAGE_(KEYS?|DOOR_TOKEN)", value)
        default = r":-" if optional else r":\?[^}]+"
        assert re.fullmatch(rf"\$\{{\w+{default}\}}", value), value


@pytest.mark.parametrize("name", [*WORKERS, "desk"])
def test_whoever_speaks_with_the_server_has_the_same_keys(name: str) -> None:
    assert SERVICES[name]["environment"]["LIVING_IMAGE_KEYS"] == "${LIVING_IMAGE_KEYS:-}"


def test_ports_are_open_on_this_machine_only_unless_asked_otherwise() -> None:
    ports = [port for described in SERVICES.values() for port in described.get("ports", [])]
    assert [interpolated(port, {}) for port in ports] == [
        "127.0.0.1:7233:7233",
        "127.0.0.1:8233:8080",
        "127.0.0.1:7411:7411",
        "127.0.0.1:3000:8080",
        "127.0.0.1:3001:3000",
    ]
    asked = {"BIND_ADDRESS": "10.0.0.5"}
    assert all(interpolated(port, asked).startswith("10.0.0.5:") for port in ports)
    assert all("network_mode" not in described for described in SERVICES.values())


def test_what_must_last_has_a_place_outside_the_containers() -> None:
    mounts = {
        name: [interpolated(volume, {}) for volume in described.get("volumes", [])]
        for name, described in SERVICES.items()
    }
    assert mounts["postgres"] == ["postgres-data:/var/lib/postgresql/data"]
    assert mounts["ollama"] == ["ollama-models:/root/.ollama"]
    assert mounts["files"] == ["./living-image:/settings"]
    assert mounts["desk"] == mounts["files"]
    assert "volumes" not in SERVICES["compute"]
    assert mounts["door"] == ["./living-image:/settings:ro"]
    assert mounts["chat"] == ["chat-data:/app/backend/data"]
    assert COMPOSE["volumes"].keys() == {"postgres-data", "ollama-models", "chat-data", "prometheus-data"}
    assert mounts["prometheus"] == ["./cluster:/cluster:ro", "prometheus-data:/prometheus"]
    assert all(volume.endswith(":ro") for volume in mounts["grafana"])


def test_images_are_pinned() -> None:
    images = {interpolated(described["image"], {}) for described in SERVICES.values()}
    images |= {arguments.split()[0] for instruction, arguments in dockerfile() if instruction == "FROM"}
    for image in images:
        assert re.search(r":v?\d+\.\d+", image), image
    server, tools = (SERVICES[name]["image"].split(":", 1)[1] for name in ("temporal", "schema"))
    assert server == tools


@pytest.mark.parametrize("name", LONG_LIVED)
def test_what_runs_for_long_comes_back_and_gets_time_to_stop(name: str) -> None:
    assert SERVICES[name]["restart"] == "unless-stopped"
    if name not in ("ui", "grafana"):
        assert SERVICES[name]["healthcheck"]["test"]


@pytest.mark.parametrize("name", WORKERS)
def test_workers_have_few_rights_and_are_asked_to_stop(name: str) -> None:
    worker = SERVICES[name]
    assert interpolated(worker["user"], {}) == "1000:1000"
    assert worker["stop_signal"] == "SIGTERM"
    assert worker["stop_grace_period"] == "30s"
    assert worker["read_only"] is True
    assert worker["cap_drop"] == ["ALL"]
    assert "container_name" not in worker
    assert ("ports" in worker) is (name == "door")


def test_each_waits_for_what_it_needs() -> None:
    needs = {
        name: {other: need["condition"] for other, need in described.get("depends_on", {}).items()}
        for name, described in SERVICES.items()
    }
    for needed in needs.values():
        for other, condition in needed.items():
            done = "service_completed_successfully" if other in ONCE else "service_healthy"
            assert condition == done, other
    assert needs["schema"].keys() == {"postgres"}
    assert needs["temporal"].keys() == {"postgres", "schema"}
    assert needs["namespace"].keys() == {"temporal"}
    assert needs["files"].keys() == {"namespace"}
    assert needs["compute"].keys() == needs["door"].keys() == {"namespace", "ollama"}
    assert needs["chat"].keys() == {"door"}


def test_open_webui_knocks_at_the_door_as_the_door_expects() -> None:
    door, chat = SERVICES["door"], SERVICES["chat"]
    assert door["profiles"] == chat["profiles"] == ["chat"]
    told = {name: interpolated(value, {}) for name, value in chat["environment"].items()}
    assert told["OPENAI_API_BASE_URL"] == f"http://door:{DEFAULT_PORT}/v1"
    assert str(DEFAULT_PORT) in door["command"]
    assert chat["environment"]["OPENAI_API_KEY"] == door["environment"][TOKEN]
    assert told["TASK_MODEL_EXTERNAL"] == f"living-image{PLAIN}"
    headers = json.loads(told["OPENAI_API_CONFIGS"])["0"]["headers"]
    assert {name.lower(): value for name, value in headers.items()} == {
        CHAT: "{{CHAT_ID}}",
        MESSAGE: "{{MESSAGE_ID}}",
        CHORE: "{{TASK}}",
    }


def test_the_image_runs_as_nobody_special_and_keeps_no_tools() -> None:
    instructions = dockerfile()
    last = max(number for number, (instruction, _) in enumerate(instructions) if instruction == "FROM")
    final = instructions[last:]
    assert ("USER", "1000:1000") in final
    assert ("STOPSIGNAL", "SIGTERM") in final
    assert [arguments for instruction, arguments in final if instruction == "RUN"] == []
    installs = [arguments for _, arguments in instructions if " install " in arguments]
    assert ["--require-hashes" in install for install in installs] == [True]
    assert any("--without-pip" in arguments for _, arguments in instructions)


def test_the_build_sees_what_it_copies_and_nothing_else() -> None:
    ignored, *lines = [
        line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")
    ]
    seen = {line.removeprefix("!") for line in lines if line.startswith("!")}
    copied = {
        source
        for instruction, arguments in dockerfile()
        if instruction == "COPY" and not arguments.startswith("--from")
        for source in arguments.split()[:-1]
    }
    assert ignored == "*"
    assert seen == copied


def pins(lock: str) -> dict[str, str]:
    """What a lock file pins: each package with its version and hashes."""
    text = re.sub(r"^ *#.*\n", "", (ROOT / lock).read_text(), flags=re.MULTILINE)
    return {entry.split("==")[0]: entry.strip() for entry in re.split(r"\n(?=\S)", text)}


def test_the_image_has_the_versions_that_the_tests_have() -> None:
    tested, built = pins("requirements-dev.lock"), pins("requirements-worker.lock")
    assert built, "requirements-worker.lock pins nothing"
    for name, pin in built.items():
        assert pin == tested.get(name), f"{name} differs from requirements-dev.lock; run `make lock`"


# --- the scripts that set a server up -------------------------------------------------------------


@pytest.mark.parametrize("name", ["schema.sh", "namespace.sh"])
def test_the_scripts_are_sound(name: str) -> None:
    subprocess.run(["sh", "-n", str(ROOT / "cluster" / name)], check=True)
    assert os.access(ROOT / "cluster" / name, os.X_OK)


def test_the_schema_is_made_with_the_tools_of_the_server(tmp_path: Path) -> None:
    """The tool itself comes with the admin-tools image alone; here it writes down what it is asked."""
    tool = tmp_path / "temporal-sql-tool"
    tool.write_text(f'#!/bin/sh\necho "$SQL_PASSWORD" "$@" >> {tmp_path}/asked\n')
    tool.chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        **{name: interpolated(value, {}) for name, value in SERVICES["schema"]["environment"].items()},
        "SQL_PASSWORD": "secret",
    }
    subprocess.run(["sh", str(ROOT / "cluster" / "schema.sh")], env=environment, check=True)
    folder = "/etc/temporal/schema/postgresql/v12"
    asked = [
        f"secret --plugin postgres12 --ep postgres -p 5432 -u temporal --db {database} {what}"
        for database, versions in (("temporal", "temporal"), ("temporal_visibility", "visibility"))
        for what in ("create", "setup-schema -v 0.0", f"update-schema -d {folder}/{versions}/versioned")
    ]
    assert (tmp_path / "asked").read_text().splitlines() == asked


async def test_the_namespace_gets_what_the_workflows_need_however_often_it_is_set_up(
    client: Client, tmp_path: Path
) -> None:
    from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
    from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest

    from testbed.processes import TEMPORAL

    namespace = f"cluster-{tmp_path.name.replace('_', '-')[:20]}-{os.getpid()}"
    with pytest.raises(RPCError) as missing:
        await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=namespace))
    assert missing.value.status is RPCStatusCode.NOT_FOUND
    environment = {
        **os.environ,
        "PATH": f"{TEMPORAL.parent}:{os.environ['PATH']}",
        "XDG_CONFIG_HOME": str(tmp_path),
        "TEMPORAL_ADDRESS": target(client),
        "TEMPORAL_NAMESPACE": namespace,
    }
    for _ in range(2):
        done = await asyncio.to_thread(
            subprocess.run,
            ["sh", str(ROOT / "cluster" / "namespace.sh")],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    described = await client.workflow_service.describe_namespace(
        DescribeNamespaceRequest(namespace=namespace)
    )
    assert described.config.workflow_execution_retention_ttl.ToTimedelta() == RETENTION
    attributes = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=namespace)
    )
    script = (ROOT / "cluster" / "namespace.sh").read_text()
    for key in SEARCH_ATTRIBUTES:
        assert attributes.custom_attributes[key.name] == key.indexed_value_type.value
        assert f"--name {key.name} --type {type_name(key)}" in script
