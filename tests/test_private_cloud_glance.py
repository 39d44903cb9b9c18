"""Uploads into a real Glance: whole, proven and under their name, or not at all."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from converters.convert import convert_file
from migration.artifact import Artifact
from migration.disk import Disk, DiskFormat, DiskRole
from migration.errors import CloudRefused, CloudUnavailable, CorruptData, Interrupted, InvalidInput, SourceChanged
from migration.target import Target
from private_cloud import glance
from private_cloud.glance import UNFINISHED, ImportedImage, check_names, import_image, property_changes
from private_cloud.glance_properties import SHA256, GlanceImage, guest_properties, plan_images
from private_cloud.glance_service import ImageService, StoredImage, open_image_service
from private_cloud.machine import Firmware
from tests.conftest import write_raw
from tests.glance_fixtures import box, real
from tests.glance_proxy import GlanceProxy, cut, hold, lose_answer, says
from tests.glance_service import CLOUD, Glance, run_glance

__all__ = ["box", "real"]

MIB = 1024**2
SIZE = 24 * MIB  # more than sockets and proxies hold back


@pytest.fixture
def service(real: Glance, box: GlanceProxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[ImageService]:
    """Glance by way of the box; emptied afterwards."""
    for name, value in real.environment(box.endpoint).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(glance, "PAUSES", (0.01, 0.01))
    opened = open_image_service(CLOUD)
    yield opened
    box.spoil = lambda _number: None
    box.release.set()
    for image in everything(opened):
        opened.delete(image.id)


def everything(service: ImageService) -> list[StoredImage]:
    names = {str(image["name"]) for image in service.adapter.get("/images").json()["images"]}
    return [image for name in sorted(names) for image in service.find(name)]


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    path = tmp_path / "system.raw"
    path.write_bytes(bytes(range(256)) * (SIZE // 256))
    return artifact_of(path, DiskFormat.RAW)


def artifact_of(path: Path, disk_format: DiskFormat, device: str = "xvda") -> Artifact:
    content = path.read_bytes()
    return Artifact(
        device=device, role=DiskRole.SYSTEM if device == "xvda" else DiskRole.DATA, path=path, format=disk_format,
        virtual_size=max(len(content), 512), file_size=len(content), sha256=hashlib.sha256(content).hexdigest(),
        proof="",
    )  # fmt: skip


def plan(artifact: Artifact, name: str = "web1", target: Target = Target.VIRTIO) -> GlanceImage:
    (image,) = plan_images([artifact], name, guest_properties(firmware=Firmware.BIOS, target=target), image_id="m-1")
    return image


def bring(service: ImageService, artifact: Artifact) -> ImportedImage:
    return import_image(service, plan(artifact), artifact)


def assert_only(service: ImageService, artifact: Artifact) -> StoredImage:
    (image,) = everything(service)
    assert (image.name, image.status, image.size) == ("web1", "active", artifact.file_size)
    assert image.hash_value == hashlib.sha512(artifact.path.read_bytes()).hexdigest()
    return image


@pytest.mark.slow
@pytest.mark.parametrize(
    ("disk_format", "compress"),
    [
        pytest.param("raw", False, id="raw", marks=pytest.mark.exhaustive),
        pytest.param("qcow2", True, id="qcow2"),
        pytest.param("vmdk", True, id="vmdk-streamOptimized"),
        pytest.param("vmdk", False, id="vmdk-monolithicSparse"),
        pytest.param("vhdx", False, id="vhdx"),
        pytest.param("vpc", False, id="vpc"),
        pytest.param("vdi", False, id="vdi"),
    ],
)
def test_image_comes_back_byte_equal(
    service: ImageService, real: Glance, tmp_path: Path, disk_format: str, compress: bool
) -> None:
    raw = write_raw(tmp_path / "system.raw", 16 * MIB)
    disk = Disk(device="xvda", role=DiskRole.SYSTEM, path=raw, format=DiskFormat.RAW, virtual_size=16 * MIB)
    made = convert_file(disk, tmp_path / "out", DiskFormat(disk_format), compress=compress)
    done = bring(service, made)
    stored = assert_only(service, made)
    assert (real.store / stored.id).read_bytes() == made.path.read_bytes()
    assert service.adapter.get(f"/images/{stored.id}/file").content == made.path.read_bytes()
    assert done.proof == f"Glance's sha512 of what it stored is that of {made.path.name}"
    assert done.uploaded
    assert stored.properties[SHA256] == made.sha256
    assert stored.properties["hw_disk_bus"] == "virtio"


@pytest.mark.slow
def test_second_run_uploads_nothing(service: ImageService, box: GlanceProxy, artifact: Artifact) -> None:
    first = bring(service, artifact)
    box.requests.clear()
    second = bring(service, artifact)
    assert (second.image_id, second.uploaded) == (first.image_id, False)
    assert {line.split()[0] for line in box.requests} == {"GET"}
    assert_only(service, artifact)


@pytest.mark.slow
def test_another_bus_changes_the_properties_and_uploads_nothing(
    service: ImageService, box: GlanceProxy, artifact: Artifact
) -> None:
    import_image(service, plan(artifact, target=Target.SCSI), artifact)
    import_image(service, plan(artifact, target=Target.VIRTIO), artifact)
    properties = assert_only(service, artifact).properties
    assert properties["hw_disk_bus"] == "virtio"
    assert "hw_scsi_model" not in properties
    assert box.uploads == 1


@pytest.mark.slow
def test_format_that_contradicts_the_bytes_is_refused_by_glance(service: ImageService, artifact: Artifact) -> None:
    lying = replace(artifact, format=DiskFormat.QCOW2)
    with pytest.raises(CloudRefused, match="415: Image disk_format qcow2 does not match stream data raw"):
        bring(service, lying)
    assert everything(service) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "said"),
    [pytest.param(413, "over quota", id="quota"), pytest.param(403, "not yours", id="forbidden"),
     pytest.param(409, "busy", id="conflict")],
)  # fmt: skip
def test_refusal_in_mid_upload_is_told_and_leaves_nothing(
    service: ImageService, box: GlanceProxy, artifact: Artifact, status: int, said: str
) -> None:
    box.spoil = lambda _number: says(status, said)
    with pytest.raises(CloudRefused, match=f"{status}: {status} {said}"):
        bring(service, artifact)
    assert box.uploads == 1  # what time does not mend is not tried again
    assert everything(service) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "spoil",
    [pytest.param(cut(5 * MIB), id="cut"), pytest.param(says(503, "later"), id="503"),
     pytest.param(says(500, "oops"), id="500"), pytest.param(says(502, "bad gateway"), id="502")],
)  # fmt: skip
def test_failure_that_passes_is_mended_by_a_fresh_upload(
    service: ImageService, box: GlanceProxy, artifact: Artifact, spoil: Callable[[GlanceProxy, object], None]
) -> None:
    box.spoil = lambda number: spoil if number < 3 else None
    assert bring(service, artifact).uploaded
    assert box.uploads == 3
    assert_only(service, artifact)


@pytest.mark.slow
def test_failure_that_stays_is_told_and_leaves_nothing(
    service: ImageService, box: GlanceProxy, artifact: Artifact
) -> None:
    box.spoil = lambda _number: says(503, "down for maintenance")
    with pytest.raises(CloudUnavailable, match="503: 503 down for maintenance"):
        bring(service, artifact)
    assert box.uploads == 3
    assert everything(service) == []


@pytest.mark.slow
def test_answer_that_was_lost_costs_no_second_upload(
    service: ImageService, box: GlanceProxy, artifact: Artifact
) -> None:
    box.spoil = lambda _number: lose_answer
    assert bring(service, artifact).uploaded
    assert box.uploads == 1
    assert_only(service, artifact)


@pytest.mark.slow
@pytest.mark.parametrize("status", ["queued", "active"])
def test_what_a_killed_upload_left_is_removed(
    service: ImageService, artifact: Artifact, status: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "private_cloud")
    left = service.create(plan(artifact), "web1" + UNFINISHED)
    if status == "active":  # killed before it got its name
        answer = service.adapter.put(
            f"/images/{left.id}/file", data=b"half", headers={"Content-Type": "application/octet-stream"}
        )
        assert answer.status_code == 204
    done = bring(service, artifact)
    assert done.image_id != left.id
    assert_only(service, artifact)
    assert f"Removing an upload of web1 that was not finished: {left.id}, {status}" in caplog.text


@pytest.mark.slow
def test_unfinished_name_of_somebody_else_is_left_alone(service: ImageService, artifact: Artifact) -> None:
    theirs = service.create(replace(plan(artifact), properties={}), "web1" + UNFINISHED)
    bring(service, artifact)
    assert service.get(theirs.id) is not None


@pytest.mark.slow
@pytest.mark.parametrize("whose", ["of others", "ours, of other bytes", "two"])
def test_name_that_is_taken_is_refused_before_a_byte_is_sent(
    service: ImageService, box: GlanceProxy, artifact: Artifact, whose: str
) -> None:
    image = plan(artifact)
    properties = {} if whose == "of others" else {**image.properties, SHA256: "00"}
    taken = [service.create(replace(image, properties=properties), "web1") for _ in range(2 if whose == "two" else 1)]
    said = {"of others": "was not uploaded by Ferry", "two": "there are 2"}.get(whose, "holds other bytes")
    with pytest.raises(CloudRefused, match=said):
        check_names(service, [image], [artifact])
    with pytest.raises(CloudRefused, match=said):
        bring(service, artifact)
    assert box.uploads == 0
    assert {one.id for one in everything(service)} == {one.id for one in taken}


@pytest.mark.slow
def test_name_that_is_taken_meanwhile_is_left_to_its_owner(
    service: ImageService, box: GlanceProxy, artifact: Artifact
) -> None:
    def take_it(box: GlanceProxy, wire: object) -> None:
        service.create(replace(plan(artifact), properties={}), "web1")
        box.pass_on(wire)  # type: ignore[arg-type]

    box.spoil = lambda _number: take_it
    with pytest.raises(CloudRefused, match="somebody else took the name"):
        bring(service, artifact)
    (only,) = everything(service)
    assert not only.is_ours


@pytest.mark.slow
def test_file_that_changes_during_the_upload_is_noticed(service: ImageService, artifact: Artifact) -> None:
    def write(done: int, _total: int) -> None:
        if done == MIB:
            with artifact.path.open("r+b") as file:
                file.seek(SIZE - 1)
                file.write(b"!")

    with pytest.raises(SourceChanged, match="not what it was"):
        import_image(service, plan(artifact), artifact, progress=write)
    assert everything(service) == []


@pytest.mark.slow
def test_bytes_that_change_on_their_way_are_noticed(
    service: ImageService, box: GlanceProxy, artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = box._body

    def flip(wire: object, left: int, hold_at: int) -> Iterator[bytes]:
        is_image = left == SIZE
        for number, chunk in enumerate(body(wire, left, hold_at)):  # type: ignore[arg-type]
            yield bytes(byte ^ 1 for byte in chunk) if is_image and number == 7 else chunk

    monkeypatch.setattr(box, "_body", flip)
    with pytest.raises(CorruptData, match="Glance stored sha512"):
        bring(service, artifact)
    assert everything(service) == []


@pytest.mark.slow
def test_stop_ends_an_upload_that_hangs(service: ImageService, box: GlanceProxy, artifact: Artifact) -> None:
    box.spoil = lambda _number: hold(4 * MIB)
    stop = threading.Event()

    def stop_when_it_hangs() -> None:
        box.reached.wait(60)
        stop.set()

    threading.Thread(target=stop_when_it_hangs).start()
    with pytest.raises(Interrupted):
        import_image(service, plan(artifact), artifact, stop=stop)
    assert not box.release.is_set()  # it hung until the end
    assert everything(service) == []


@pytest.mark.slow
def test_file_that_another_run_uploads_is_left_to_it(
    service: ImageService, box: GlanceProxy, artifact: Artifact
) -> None:
    box.spoil = lambda _number: hold(4 * MIB)
    done: list[ImportedImage] = []
    first = threading.Thread(target=lambda: done.append(bring(service, artifact)))
    first.start()
    assert box.reached.wait(60)
    try:
        with pytest.raises(InvalidInput, match="another run is uploading this file"):
            bring(service, artifact)
    finally:
        box.release.set()
        first.join()
    assert done[0].uploaded
    assert_only(service, artifact)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limits", "said"),
    [
        pytest.param({"size_cap": 4 * MIB}, "too large", id="image_size_cap"),
        pytest.param({"largest_file": 4 * MIB}, "storage media is full", id="full-store"),
    ],
)
def test_limit_of_glance_is_told_and_raising_it_is_enough(
    real: Glance, artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limits: dict[str, int], said: str
) -> None:
    assert real.port
    with run_glance(tmp_path / "small", **limits) as small:
        for name, value in small.environment().items():
            monkeypatch.setenv(name, value)
        service = open_image_service(CLOUD)
        with pytest.raises(CloudRefused, match=f"413: .*{said}") as caught:
            bring(service, artifact)
        assert "quota" in caught.value.remedy
        assert everything(service) == []
        assert list(small.store.iterdir()) == []
        small.kill()
        small.start()
        assert bring(service, artifact).uploaded
        assert_only(service, artifact)


def test_properties_change_and_those_of_others_stay() -> None:
    stored = StoredImage(
        id="1", name="web1", status="active", size=1, disk_format="raw", container_format="bare", min_disk=1, min_ram=0,
        hash_algo="", hash_value="", checksum="",
        properties={"hw_disk_bus": "scsi", "hw_scsi_model": "virtio-scsi", "ferry_role": "system", "owner_note": "x"},
    )  # fmt: skip
    image = GlanceImage(
        name="web1", disk_format="raw", min_disk=2,
        properties={"hw_disk_bus": "virtio", "ferry_role": "system", "os_type": "linux"},
    )  # fmt: skip
    assert property_changes(stored, image) == [
        {"op": "replace", "path": "/hw_disk_bus", "value": "virtio"},
        {"op": "add", "path": "/os_type", "value": "linux"},
        {"op": "replace", "path": "/min_disk", "value": 2},
        {"op": "remove", "path": "/hw_scsi_model"},
    ]
