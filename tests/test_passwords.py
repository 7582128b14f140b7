"""A password in an address is told to nobody, and no setting holds one."""

from pathlib import Path

import pytest

from activities.model_server.client import AddressBroken, model_client
from configuration import InvalidSettings
from configuration.reading import load_settings
from testbed.world import shipped_settings
from tests.desk.command_line import Starter
from tests.secrets import mark, signed_in


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("models.host", signed_in("http://10.0.0.1:11434", "host")),
        ("models.host", signed_in("ftp://10.0.0.1", "host")),
        ("system.image_path", signed_in("sftp://10.0.0.1/images", "place")),
    ],
)
def test_a_setting_with_a_password_is_refused_without_telling_it(
    tmp_path: Path, key: str, value: str
) -> None:
    with pytest.raises(InvalidSettings, match=r"password|host") as refused:
        load_settings(shipped_settings(tmp_path, {key: value}))
    assert "s3cret" not in str(refused.value)


def test_a_place_may_name_who_asks_there(tmp_path: Path) -> None:
    path = shipped_settings(tmp_path, {"system.image_path": "sftp://marie@10.0.0.1/images"})
    assert "marie@" in load_settings(path).system.image_path


def test_a_broken_address_of_a_model_server_is_told_without_its_password() -> None:
    with pytest.raises(AddressBroken, match=r"//…@127\.0\.0\.1:port") as refused:
        model_client(signed_in("http://127.0.0.1:port", "model-server"))
    assert mark("model-server") not in str(refused.value)


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9", "ftp://127.0.0.1:9"])
async def test_a_collector_is_named_without_its_password(tmp_path: Path, endpoint: str) -> None:
    shipped_settings(tmp_path)
    around = {"OTEL_EXPORTER_OTLP_ENDPOINT": signed_in(endpoint, "collector")}
    ran = await Starter(tmp_path, "127.0.0.1:1", **around)("snapshots")
    assert "//…@127.0.0.1:9" in ran.err
    assert "s3cret" not in ran.err
