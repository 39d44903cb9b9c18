from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from flows.parameters import (
    Bucket,
    Endpoints,
    Formats,
    ImageId,
    LimitOverrides,
    Prefix,
    Region,
    Targets,
    workspace_path,
)
from flows.transfer import Transfer
from migration.disk import DiskFormat
from migration.errors import InvalidInput
from migration.image import GIB


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        pytest.param(
            ImageId, ["m-bp1abc234", "m-2ze2gu2si5vs2n8en5mk"], ["", "i-1234", "m-../../etc", "m-a b"], id="image"
        ),
        pytest.param(Bucket, ["my-exports", "a12"], ["", "My", "-a-", "a/b", "a" * 64], id="bucket"),
        pytest.param(Region, ["cn-hangzhou", "ap-southeast-1"], ["", "hangzhou", "oss-cn-hangzhou/"], id="region"),
        pytest.param(Prefix, ["", "web1"], ["web-1", "a" * 31, "a/b"], id="prefix"),
        pytest.param(Formats, [["qcow2"], ["vmdk", "vpc"]], [[], ["iso"]], id="formats"),
        pytest.param(Targets, [["virtio"], ["xen", "vmware"]], [[], ["floppy"], ["virtio", "VIRTIO"]], id="targets"),
    ],
)
def test_parameter_takes_what_is_meant_and_refuses_the_rest(kind: Any, good: list[object], bad: list[object]) -> None:
    adapter: TypeAdapter[object] = TypeAdapter(kind)
    for value in good:
        adapter.validate_python(value)
    for value in bad:
        with pytest.raises(ValidationError):
            adapter.validate_python(value)


@pytest.mark.parametrize("model", [Endpoints, Transfer, LimitOverrides])
def test_misspelled_setting_is_an_error(model: type[Endpoints | Transfer | LimitOverrides]) -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        model.model_validate({"nonsense": 1})


@pytest.mark.parametrize("model", [Endpoints, Transfer, LimitOverrides])
def test_every_setting_is_described(model: type[Endpoints | Transfer | LimitOverrides]) -> None:
    for name, field in model.model_fields.items():
        assert field.title, name
        assert field.description, name


def test_limits_are_overridden_in_bytes() -> None:
    limits = LimitOverrides(data_disks=16, data_disk_gib=4096).limits()
    assert (limits.data_disks.value, limits.data_disk_size.value) == (16, 4096 * GIB)
    assert LimitOverrides().limits().data_disk_size.value == 2048 * GIB


def test_transfer_means_the_same_to_the_download() -> None:
    settings = Transfer(
        connections=8, part_size_mib=4, bandwidth_limit_mib=1.5, oss_traffic_limit=819_200, restore_archived=True
    ).settings()  # fmt: skip
    assert settings.restore_archived
    assert (settings.connections, settings.part_size) == (8, 4 << 20)
    assert (settings.bandwidth.bytes_per_second, settings.oss_traffic_limit) == (3 << 19, 819_200)
    assert Transfer().settings().bandwidth.bytes_per_second is None


def test_workspace_is_filled_in() -> None:
    assert workspace_path("/srv/{image_id}", "m-1") == Path("/srv/m-1")
    assert workspace_path("~/ferry", "m-1") == Path.home() / "ferry"
    month = workspace_path("/srv/{image_id}-{date}", "m-1").name.removeprefix("m-1-")
    assert [part.isdecimal() for part in month.split("-")] == [True, True]


@pytest.mark.parametrize("template", ["ferry", "/srv/{image}", "/srv/{}", "/srv/{", "/srv/{image_id.x}", "{date}"])
def test_workspace_that_means_nothing_is_refused(template: str) -> None:
    with pytest.raises(InvalidInput):
        workspace_path(template, "m-1")


def test_formats_are_those_of_the_converters() -> None:
    assert TypeAdapter(Formats).validate_python(["vpc"]) == [DiskFormat.VPC]
