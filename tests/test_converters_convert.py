from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from converters.convert import convert_disk, convert_file
from converters.extents import find_extents
from converters.qemu_img import ImageFile
from migration.disk import Disk, DiskFormat, DiskRole
from migration.errors import CorruptData, Interrupted, InvalidInput, NoSpace, SourceChanged, ToolMissing
from migration.run import run
from migration.workspace import open_workspace

SIZE = 24 << 20
REAL = shutil.which("qemu-img") or "qemu-img"
COMPRESSIBLE = (DiskFormat.QCOW2, DiskFormat.VMDK)


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    """Return a sparse RAW disk with something at its start, in its middle and at its end."""
    path = tmp_path / "disks" / "data_xvdb.raw"
    path.parent.mkdir()
    content = hashlib.shake_128(b"disk").digest(3 << 20)
    with path.open("wb") as file:
        for number, offset in enumerate((0, 11 << 20, SIZE - (1 << 20))):
            file.seek(offset)
            file.write(content[number << 20 : (number + 1) << 20])
    return Disk(device="xvdb", role=DiskRole.DATA, path=path, format=DiskFormat.RAW, virtual_size=SIZE, crc64=7)


@pytest.fixture
def fake_qemu_img(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Put a script before the real qemu-img, which the script may call as "$REAL"."""

    def install(script: str) -> None:
        fake = tmp_path / "bin" / "qemu-img"
        fake.parent.mkdir(exist_ok=True)
        fake.write_text(f"#!/bin/sh\nREAL={REAL}\nfor last; do :; done\n{script}\n", encoding="utf-8")
        fake.chmod(0o755)
        monkeypatch.setenv("PATH", f"{fake.parent}{os.pathsep}{os.environ['PATH']}")

    return install


def content_of(image: Path, format_: DiskFormat, folder: Path) -> bytes:
    """Return what a guest reads from `image`, by way of another qemu-img."""
    run(["qemu-img", "convert", "-f", format_, "-O", "raw", image, folder / "content"])
    return (folder / "content").read_bytes()


@pytest.mark.parametrize("compress", [False, True], ids=["plain", "compressed"])
@pytest.mark.parametrize("to", list(DiskFormat))
def test_image_holds_what_the_disk_held(disk: Disk, tmp_path: Path, to: DiskFormat, compress: bool) -> None:
    if compress and to not in COMPRESSIBLE:
        with pytest.raises(InvalidInput, match="qcow2 and vmdk can"):
            convert_file(disk, tmp_path / "images", to, compress=compress)
        return
    artifact = convert_file(disk, tmp_path / "images", to, compress=compress)
    assert artifact.path == tmp_path / "images" / f"data_xvdb{to.suffix}"
    assert (artifact.device, artifact.role, artifact.format) == ("xvdb", DiskRole.DATA, to)
    assert artifact.virtual_size == SIZE
    assert artifact.file_size == artifact.path.stat().st_size
    assert artifact.sha256 == hashlib.sha256(artifact.path.read_bytes()).hexdigest()
    assert "identical to data_xvdb.raw" in artifact.proof
    assert content_of(artifact.path, to, tmp_path) == disk.path.read_bytes()
    assert [path.name for path in artifact.path.parent.iterdir()] == [artifact.path.name]


def test_image_takes_no_more_than_the_disk_holds(disk: Disk, tmp_path: Path) -> None:
    for to in (DiskFormat.RAW, DiskFormat.QCOW2, DiskFormat.VMDK):
        artifact = convert_file(disk, tmp_path / "images", to)
        assert artifact.path.stat().st_blocks * 512 < SIZE // 4, to


def test_compression_makes_the_image_smaller(disk: Disk, tmp_path: Path) -> None:
    disk.path.write_bytes(b"the same words again and again. " * (SIZE // 32))
    for to in COMPRESSIBLE:
        plain = convert_file(disk, tmp_path / "plain", to)
        compressed = convert_file(disk, tmp_path / "compressed", to, compress=True)
        assert compressed.file_size < plain.file_size // 4, to


def test_vmdk_names_itself_as_it_is_called(disk: Disk, tmp_path: Path) -> None:
    # VMware opens the extent that the descriptor names.
    artifact = convert_file(disk, tmp_path / "images", DiskFormat.VMDK)
    head = artifact.path.read_bytes()[: 64 << 10]
    assert b'"data_xvdb.vmdk"' in head
    assert b"partial" not in head


def test_vmdk_is_stream_optimized_when_compressed(disk: Disk, tmp_path: Path) -> None:
    artifact = convert_file(disk, tmp_path / "images", DiskFormat.VMDK, compress=True)
    assert b'createType="streamOptimized"' in artifact.path.read_bytes()[: 64 << 10]


@pytest.mark.parametrize("source", [DiskFormat.QCOW2, DiskFormat.VPC, DiskFormat.VHDX, DiskFormat.VDI], ids=str)
def test_disk_in_another_named_format_is_converted(disk: Disk, tmp_path: Path, source: DiskFormat) -> None:
    given = convert_file(disk, tmp_path / "given", source)
    again = convert_file(replace(disk, path=given.path, format=source), tmp_path / "images", DiskFormat.RAW)
    assert again.path.read_bytes() == disk.path.read_bytes()


def test_raw_disk_that_looks_like_qcow2_is_not_believed(disk: Disk, tmp_path: Path) -> None:
    # A guest can write this into its first sectors: whoever probes would copy a file of the host.
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret of the host" * 1000 + bytes(432))
    trap = tmp_path / "trap.qcow2"
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", secret, "-F", "raw", trap, str(SIZE)])
    with disk.path.open("r+b") as file:
        file.write(trap.read_bytes())
    artifact = convert_file(disk, tmp_path / "images", DiskFormat.QCOW2)
    content = content_of(artifact.path, DiskFormat.QCOW2, tmp_path)
    assert content == disk.path.read_bytes()
    assert content.startswith(b"QFI\xfb")
    assert b"secret of the host" not in content


def test_qcow2_disk_with_a_backing_file_is_refused(disk: Disk, tmp_path: Path) -> None:
    overlay = tmp_path / "overlay.qcow2"
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", disk.path, "-F", "raw", overlay])
    with pytest.raises(InvalidInput, match="refers to another file"):
        convert_file(replace(disk, path=overlay, format=DiskFormat.QCOW2), tmp_path / "images", DiskFormat.RAW)


def test_progress_only_goes_forward_and_ends_at_its_total(disk: Disk, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    convert_file(disk, tmp_path, DiskFormat.QCOW2, progress=lambda done, total: seen.append((done, total)))
    done = [step for step, _ in seen]
    assert done == sorted(done)
    assert {total for _, total in seen} == {3 * SIZE}
    assert done[0] == 0
    assert done[-1] == 3 * SIZE
    assert len(done) > 10


@pytest.mark.parametrize("size", [0, 511, SIZE - 1])
def test_disk_of_broken_sectors_is_refused(disk: Disk, tmp_path: Path, size: int) -> None:
    os.truncate(disk.path, size)
    for to in DiskFormat:
        with pytest.raises(InvalidInput, match="sectors"):
            convert_file(replace(disk, virtual_size=size), tmp_path / "images", to)


def test_disk_of_another_size_than_promised_is_refused(disk: Disk, tmp_path: Path) -> None:
    os.truncate(disk.path, SIZE - 512)
    with pytest.raises(SourceChanged, match=f"is {SIZE - 512} bytes long, expected were {SIZE}"):
        convert_file(disk, tmp_path / "images", DiskFormat.QCOW2)


def test_missing_disk_is_an_error_with_a_remedy(disk: Disk, tmp_path: Path) -> None:
    disk.path.unlink()
    with pytest.raises(InvalidInput, match="there is no such file"):
        convert_file(disk, tmp_path / "images", DiskFormat.QCOW2)


def test_file_that_has_the_name_is_replaced_only_when_that_is_said(disk: Disk, tmp_path: Path) -> None:
    target = tmp_path / "images" / f"{disk.stem}.qcow2"
    target.parent.mkdir()
    target.write_text("precious")
    with pytest.raises(InvalidInput, match="is there already"):
        convert_file(disk, target.parent, DiskFormat.QCOW2)
    assert target.read_text() == "precious"
    assert convert_file(disk, target.parent, DiskFormat.QCOW2, overwrite=True).path == target
    assert target.read_bytes().startswith(b"QFI\xfb")


def test_image_never_replaces_the_disk_it_is_made_of(disk: Disk) -> None:
    with pytest.raises(InvalidInput, match="would replace the disk"):
        convert_file(disk, disk.path.parent, DiskFormat.RAW)
    assert disk.path.stat().st_size == SIZE


def test_folder_that_cannot_be_made_is_an_error_with_a_remedy(disk: Disk) -> None:
    with pytest.raises(InvalidInput, match="Not a directory"):
        convert_file(disk, disk.path / "images", DiskFormat.QCOW2)


def test_missing_qemu_img_is_named_with_its_package(
    disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("migration.run.SYSTEM_FOLDERS", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolMissing, match="qemu-utils"):
        convert_file(disk, tmp_path / "images", DiskFormat.QCOW2)
    assert not any((tmp_path / "images").iterdir())


def copy_with_a_wrong_byte(disk: Disk, wrong: Path) -> Path:
    shutil.copyfile(disk.path, wrong)
    with wrong.open("r+b") as file:
        file.seek(12_000_000)
        byte = file.read(1)
        file.seek(12_000_000)
        file.write(bytes([byte[0] ^ 1]))
    return wrong


@pytest.mark.parametrize("compress", [False, True], ids=["monolithicSparse", "streamOptimized"])
def test_wrong_byte_that_we_write_ourselves_is_caught(
    disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compress: bool
) -> None:
    wrong = copy_with_a_wrong_byte(disk, tmp_path / "wrong.raw")
    extents = find_extents(ImageFile(path=disk.path, format=disk.format))
    assert extents is not None
    misled = [replace(extent, path=wrong) for extent in extents]
    monkeypatch.setattr("converters.convert.find_extents", lambda *_, **__: misled)
    with pytest.raises(CorruptData, match="the contents differ"):
        convert_file(disk, tmp_path / "images", DiskFormat.VMDK, compress=compress)
    assert not any((tmp_path / "images").iterdir())


@pytest.mark.parametrize("to", [DiskFormat.QCOW2, DiskFormat.VHDX, DiskFormat.RAW], ids=str)
def test_image_that_differs_by_one_byte_is_caught(
    disk: Disk, tmp_path: Path, fake_qemu_img: Callable[[str], None], to: DiskFormat
) -> None:
    # A qemu-img that reads a wrong byte somewhere and reports success.
    wrong = copy_with_a_wrong_byte(disk, tmp_path / "wrong.raw")
    fake_qemu_img(f'[ "$1" = convert ] || exec "$REAL" "$@"\nexec "$REAL" convert -f raw -O {to} {wrong} "$last"')
    with pytest.raises(CorruptData, match="the contents differ"):
        convert_file(disk, tmp_path / "images", to)
    assert not any((tmp_path / "images").iterdir())


def test_image_that_is_longer_by_zeros_is_caught(
    disk: Disk, tmp_path: Path, fake_qemu_img: Callable[[str], None]
) -> None:
    # What `qemu-img convert -O vpc` does by itself: it rounds up to cylinders, and compare calls it identical.
    fake_qemu_img(
        '[ "$1" = convert ] || exec "$REAL" "$@"\n"$REAL" "$@" && exec "$REAL" resize -q -f qcow2 "$last" +1M'
    )
    with pytest.raises(CorruptData, match=f"it is {SIZE + (1 << 20)} bytes long, the source {SIZE}"):
        convert_file(disk, tmp_path / "images", DiskFormat.QCOW2)
    assert not any((tmp_path / "images").iterdir())


def test_image_with_broken_structures_is_caught(
    disk: Disk, tmp_path: Path, fake_qemu_img: Callable[[str], None]
) -> None:
    # Equal to the guest for now, but the reference counts (in the second cluster's table) are gone: the next
    # write by the guest would overwrite its own data.
    wipe = 'dd if=/dev/zero of="$last" bs=65536 seek=2 count=1 conv=notrunc status=none'
    fake_qemu_img(f'[ "$1" = convert ] || exec "$REAL" "$@"\n"$REAL" "$@" && exec {wipe}')
    with pytest.raises(CorruptData, match="qemu-img check found errors"):
        convert_file(disk, tmp_path / "images", DiskFormat.QCOW2)
    assert not any((tmp_path / "images").iterdir())


def test_disk_that_changes_during_the_conversion_is_caught(
    disk: Disk, tmp_path: Path, fake_qemu_img: Callable[[str], None]
) -> None:
    # Written to after the comparison has passed.
    fake_qemu_img(f'[ "$1" = check ] && printf x | dd of={disk.path} conv=notrunc status=none\nexec "$REAL" "$@"')
    with pytest.raises(SourceChanged, match="something wrote to the disk"):
        convert_file(disk, tmp_path / "images", DiskFormat.QCOW2)
    assert not any((tmp_path / "images").iterdir())


def test_conversion_is_not_begun_without_the_space_for_it(
    disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A disk that is all but full cannot be had without root: the answer of the system is replaced.
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=(3 << 20) - 1))
    with pytest.raises(NoSpace, match=r"converting data_xvdb.raw to qcow2 needs 3\.0 MiB"):
        convert_file(disk, tmp_path / "images", DiskFormat.QCOW2)
    assert not any((tmp_path / "images").iterdir())


@pytest.mark.parametrize("complaint", ["No space left on device", "Disk quota exceeded"])
def test_full_disk_leaves_nothing_behind(
    disk: Disk, tmp_path: Path, fake_qemu_img: Callable[[str], None], complaint: str
) -> None:
    # The words are those of the real one; see the test of qemu_img.convert on a full file system.
    said = f"qemu-img: error while writing at byte 2097152: {complaint}"
    fake_qemu_img(f'[ "$1" = convert ] || exec "$REAL" "$@"\n"$REAL" "$@"; echo "{said}" >&2; exit 1')
    with pytest.raises(NoSpace, match="became full"):
        convert_file(disk, tmp_path / "images", DiskFormat.QCOW2)
    assert not any((tmp_path / "images").iterdir())


def test_image_of_that_name_stays_until_the_new_one_is_whole(
    disk: Disk, tmp_path: Path, fake_qemu_img: Callable[[str], None]
) -> None:
    first = convert_file(disk, tmp_path / "images", DiskFormat.QCOW2)
    fake_qemu_img("echo broken >&2; exit 1")
    with pytest.raises(Exception, match="broken"):
        convert_file(disk, tmp_path / "images", DiskFormat.QCOW2, overwrite=True)
    assert hashlib.sha256(first.path.read_bytes()).hexdigest() == first.sha256


def wait_for_pid(path: Path) -> int:
    for _ in range(200):
        if path.exists() and path.read_text(encoding="utf-8").endswith("\n"):
            return int(path.read_text(encoding="utf-8"))
        time.sleep(0.05)
    raise AssertionError("the conversion never started")


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


# The real qemu-img, made slow by its own option.
SLOWLY = 'case "$1" in {command}) echo $$ > {pid}; shift; exec "$REAL" {command} {brake} "$@";; esac\nexec "$REAL" "$@"'


def test_stop_ends_qemu_img_and_leaves_nothing_behind(
    disk: Disk, tmp_path: Path, fake_qemu_img: Callable[[str], None]
) -> None:
    pid_file, stop = tmp_path / "pid", threading.Event()
    fake_qemu_img(SLOWLY.format(command="convert", pid=pid_file, brake="-r 1"))

    def stop_once_it_runs() -> None:
        wait_for_pid(pid_file)
        stop.set()

    stopper = threading.Thread(target=stop_once_it_runs)
    stopper.start()
    with pytest.raises(Interrupted):
        convert_file(disk, tmp_path / "images", DiskFormat.QCOW2, stop=stop)
    stopper.join()
    assert not is_alive(wait_for_pid(pid_file))
    assert not any((tmp_path / "images").iterdir())


CONVERT = """
import sys
from pathlib import Path
from converters.convert import convert_disk
from migration.disk import Disk, DiskFormat, DiskRole
from migration.workspace import open_workspace

with open_workspace(Path(sys.argv[1])) as workspace:
    path = Path(sys.argv[2])
    disk = Disk(device="xvdb", role=DiskRole.DATA, path=path, format=DiskFormat.RAW, virtual_size=path.stat().st_size)
    convert_disk(workspace, disk, DiskFormat.QCOW2)
"""


def test_killed_conversion_leaves_no_process_and_no_image_and_is_done_again(
    disk: Disk, tmp_path: Path, fake_qemu_img: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    pid_file = tmp_path / "pid"
    path = os.environ["PATH"]
    fake_qemu_img(SLOWLY.format(command="convert", pid=pid_file, brake="-r 1"))
    with subprocess.Popen([sys.executable, "-c", CONVERT, tmp_path / "w", disk.path]) as ours:
        qemu_img = wait_for_pid(pid_file)
        ours.send_signal(signal.SIGKILL)
    for _ in range(100):
        if not is_alive(qemu_img):
            break
        time.sleep(0.05)
    assert not is_alive(qemu_img)

    monkeypatch.setenv("PATH", path)
    with open_workspace(tmp_path / "w") as workspace:
        assert [path.name for path in workspace.images.iterdir()] == ["data_xvdb.qcow2.partial"]
        artifact = convert_disk(workspace, disk, DiskFormat.QCOW2)
        assert list(workspace.images.iterdir()) == [artifact.path]
    assert content_of(artifact.path, DiskFormat.QCOW2, tmp_path) == disk.path.read_bytes()


def test_finished_conversion_is_returned_at_once(
    disk: Disk, tmp_path: Path, fake_qemu_img: Callable[[str], None]
) -> None:
    with open_workspace(tmp_path / "w") as workspace:
        first = convert_disk(workspace, disk, DiskFormat.QCOW2)
    fake_qemu_img("exit 99")
    seen: list[tuple[int, int]] = []
    with open_workspace(tmp_path / "w") as workspace:
        again = convert_disk(workspace, disk, DiskFormat.QCOW2, progress=lambda *step: seen.append(step))
    assert again == first
    assert seen == [(3 * SIZE, 3 * SIZE)]


def rewrite_disk(disk: Disk, image: Path) -> Disk:
    del image
    with disk.path.open("r+b") as file:
        file.write(b"changed")
    return disk


def download_again(disk: Disk, image: Path) -> Disk:
    del image
    return replace(disk, crc64=8)


def remove_image(disk: Disk, image: Path) -> Disk:
    image.unlink()
    return disk


def damage_image(disk: Disk, image: Path) -> Disk:
    with image.open("r+b") as file:
        file.seek(1 << 19)
        file.write(b"changed")
    return disk


@pytest.mark.parametrize("change", [rewrite_disk, download_again, remove_image, damage_image])
def test_conversion_is_done_again_when_disk_or_image_changed(
    disk: Disk, tmp_path: Path, change: Callable[[Disk, Path], Disk]
) -> None:
    with open_workspace(tmp_path / "w") as workspace:
        first = convert_disk(workspace, disk, DiskFormat.QCOW2)
        disk = change(disk, first.path)
        again = convert_disk(workspace, disk, DiskFormat.QCOW2)
    assert hashlib.sha256(again.path.read_bytes()).hexdigest() == again.sha256
    assert content_of(again.path, DiskFormat.QCOW2, tmp_path) == disk.path.read_bytes()


def test_conversion_is_done_again_when_compression_is_asked_for(disk: Disk, tmp_path: Path) -> None:
    with open_workspace(tmp_path / "w") as workspace:
        convert_disk(workspace, disk, DiskFormat.VMDK)
        again = convert_disk(workspace, disk, DiskFormat.VMDK, compress=True)
    assert b'createType="streamOptimized"' in again.path.read_bytes()[: 64 << 10]


def test_failed_conversion_leaves_no_older_image_in_the_workspace(
    disk: Disk, tmp_path: Path, fake_qemu_img: Callable[[str], None]
) -> None:
    with open_workspace(tmp_path / "w") as workspace:
        convert_disk(workspace, disk, DiskFormat.QCOW2)
        rewrite_disk(disk, disk.path)
        fake_qemu_img("echo broken >&2; exit 1")
        with pytest.raises(Exception, match="broken"):
            convert_disk(workspace, disk, DiskFormat.QCOW2)
        assert not any(workspace.images.iterdir())
        assert "convert:data_xvdb:qcow2" not in workspace.journal.steps()


def test_formats_of_one_disk_are_remembered_apart(disk: Disk, tmp_path: Path) -> None:
    with open_workspace(tmp_path / "w") as workspace:
        for to in COMPRESSIBLE:
            convert_disk(workspace, disk, to)
        assert sorted(workspace.journal.steps()) == ["convert:data_xvdb:qcow2", "convert:data_xvdb:vmdk"]


def test_layer_is_converted_with_the_disk_under_it(disk: Disk, tmp_path: Path) -> None:
    path = disk.path.with_name("data_xvdb.repaired.qcow2")
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", "./data_xvdb.raw", path])
    run(["qemu-io", "-f", "qcow2", "-c", "write -P 9 0 4k", path])
    layer = replace(disk, path=path, format=DiskFormat.QCOW2, base=disk.path, crc64=None)
    artifact = convert_file(layer, tmp_path / "images", DiskFormat.QCOW2)
    original = disk.path.read_bytes()
    assert content_of(artifact.path, DiskFormat.QCOW2, tmp_path) == b"\x09" * 4096 + original[4096:]
    assert b"data_xvdb.raw" not in artifact.path.read_bytes()[:65536]  # it stands alone
    other = replace(layer, base=tmp_path / "other.raw")
    with pytest.raises(InvalidInput, match="refers to another file"):
        convert_file(other, tmp_path / "more", DiskFormat.QCOW2)


def test_image_of_a_disk_is_not_taken_for_that_of_its_layer(disk: Disk, tmp_path: Path) -> None:
    path = disk.path.with_name("data_xvdb.repaired.qcow2")
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", "./data_xvdb.raw", path])
    run(["qemu-io", "-f", "qcow2", "-c", "write -P 9 0 4k", path])
    layer = replace(disk, path=path, format=DiskFormat.QCOW2, base=disk.path, crc64=None)
    with open_workspace(tmp_path / "w") as workspace:
        digests = [convert_disk(workspace, one, DiskFormat.VMDK).sha256 for one in (disk, layer, layer, disk)]
    assert digests[1] == digests[2]
    assert digests[1] not in {digests[0], digests[3]}


def test_folder_of_the_images_name_is_seen_before_anything_is_converted(disk: Disk, tmp_path: Path) -> None:
    (tmp_path / "out" / "data_xvdb.qcow2").mkdir(parents=True)
    seen: list[int] = []
    with pytest.raises(InvalidInput, match="a folder has the image's name"):
        convert_file(
            disk, tmp_path / "out", DiskFormat.QCOW2, overwrite=True, progress=lambda done, _total: seen.append(done)
        )
    assert seen == []
