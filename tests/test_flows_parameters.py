from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from prefect import Flow
from pydantic import TypeAdapter, ValidationError

from flows.export_to_private_cloud import export_to_private_cloud
from flows.migrate_fleet import migrate_fleet
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
from flows.prepare_test_image import prepare_test_image
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


@pytest.mark.parametrize(
    ("flow", "needed"),
    [
        pytest.param(export_to_private_cloud, {"image_id", "bucket", "region_id"}, id="export"),
        pytest.param(prepare_test_image, {"workspace"}, id="prepare"),
        pytest.param(migrate_fleet, {"bucket", "region_id"}, id="fleet"),
    ],
)
def test_form_of_a_flow_says_what_each_field_is_and_fills_in_all_but_what_must_be_told(
    flow: Flow[Any, Any], needed: set[str]
) -> None:
    # What `prefect deploy` sends, and the UI makes the form of.
    schema = flow.parameters.model_dump()
    assert set(schema["required"]) == needed
    models = [model for model in schema["definitions"].values() if "properties" in model]
    assert len(models) >= 2, "the groups are described by their fields"
    assert [model for model in models if model.get("required")] == []
    for fields in [schema["properties"], *(model["properties"] for model in models)]:
        for name, given in fields.items():
            # What a group has in common with its model stands there alone.
            field = {**schema["definitions"].get(given.get("$ref", "").rpartition("/")[2], {}), **given}
            assert field.get("title"), name
            assert field["title"] != name, "the form would show a variable's name"
            assert field.get("description"), name


@pytest.mark.parametrize("flow", [export_to_private_cloud, prepare_test_image, migrate_fleet])
def test_defaults_of_the_form_are_taken(flow: Flow[Any, Any]) -> None:
    told = {
        "image_id": "m-bp1abc234", "bucket": "exports", "region_id": "cn-hangzhou", "workspace": "/srv/test",
    }  # fmt: skip
    fields = flow.parameters.properties
    flow.validate_parameters({name: field.get("default", told.get(name)) for name, field in fields.items()})
