"""`ferry import glance`: converted images into OpenStack's image service, proven by the digest that it computes."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ferry.options import json_option, workspace_option

if TYPE_CHECKING:
    from ferry.progress import Display
    from image_export.request import Export
    from migration.artifact import Artifact
    from migration.disk import Disk
    from migration.progress import Stop
    from private_cloud.glance import ImportedImage
    from private_cloud.glance_properties import GlanceImage
    from private_cloud.glance_service import ImageService
    from private_cloud.machine import Firmware

TARGETS = ("virtio", "scsi", "sata", "ide", "nvme", "xen", "vmware")
FORMATS = ("qcow2", "vmdk", "vhdx", "vdi", "vpc", "raw")


@click.command("glance")
@click.argument("disks", nargs=-1, metavar="[DISK]...")
@click.option("--cloud", metavar="NAME", help="Entry of clouds.yaml; without it the OS_* environment counts.")
@click.option("--name", required=True, help="Of the system image; data disks get NAME-data-xvdb and so on.")
@click.option(
    "-t", "--target", type=click.Choice(TARGETS), default="virtio", show_default=True,
    help="What Nova is to hang the disks on.",
)  # fmt: skip
@click.option(
    "--firmware", type=click.Choice(("auto", "bios", "uefi")), default="auto", show_default=True,
    help="auto: what the system disk is made for.",
)  # fmt: skip
@click.option("--architecture", help="As uname -m says.  [default: the exported image's, or x86_64]")
@click.option("--os-type", type=click.Choice(("linux", "windows")), help="[default: the exported image's, or linux]")
@click.option("--min-ram", type=click.IntRange(0), default=0, metavar="MIB", help="Least memory of a flavor for it.")
@click.option("--data-disks/--system-only", default=True, show_default=True, help="Whether data disks go too.")
@click.option(
    "-f", "--format", "format_word", type=click.Choice(FORMATS),
    help="Which of the workspace's images.  [default: vmdk for vmware, else qcow2]",
)  # fmt: skip
@click.option("--parallel", type=click.IntRange(1, 8), default=2, show_default=True, help="Uploads at a time.")
@workspace_option(required=False)
@json_option
def command(
    disks: tuple[str, ...], cloud: str | None, name: str, target: str, firmware: str, architecture: str | None,
    os_type: str | None, min_ram: int, format_word: str | None, parallel: int, workspace: Path | None,
    *, data_disks: bool, as_json: bool,
) -> None:  # fmt: skip
    """Upload images into OpenStack Glance, proven equal.

    DISK is an image named as conversions are (system.qcow2, data_xvdb.qcow2), or DEVICE=FILE. With --workspace its
    converted images are taken. Credentials come from where OpenStack's own tools look for them: clouds.yaml with
    secure.yaml, or the OS_* environment.

    An image gets its name when all its bytes are there and Glance's digest of them is ours. Run again, what is there
    already is not uploaded again.
    """
    from ferry.progress import open_display  # noqa: PLC0415
    from migration.disk import DiskRole  # noqa: PLC0415
    from migration.errors import InvalidInput  # noqa: PLC0415
    from migration.target import Target  # noqa: PLC0415
    from private_cloud.glance_properties import check_name, guest_properties, plan_images, read_vmdk_type  # noqa: PLC0415
    from private_cloud.glance_service import open_image_service  # noqa: PLC0415

    if (workspace is None) == (not disks):
        raise InvalidInput("say what to import", "give disks, or --workspace alone")
    check_name(name)
    bus = Target(target)
    service = open_image_service(cloud)
    with open_display() as display:
        format_word = format_word or ("vmdk" if bus is Target.VMWARE else "qcow2")
        if workspace is not None:
            artifacts, image_id, told_arch, told_os = _of_workspace(workspace, format_word, data_disks=data_disks)
        else:
            artifacts, image_id, told_arch, told_os = _of_files(disks, display, data_disks=data_disks), "", "", ""
        artifacts = [one for one in artifacts if data_disks or one.role is DiskRole.SYSTEM]
        if not artifacts:
            raise InvalidInput("there is no system disk among the disks", "say which it is: xvda=FILE")
        system = next((one for one in artifacts if one.role is DiskRole.SYSTEM), None)
        guest = {} if system is None else guest_properties(
            firmware=_firmware(firmware, system),
            target=bus,
            architecture=architecture or told_arch or "x86_64",
            os_type=os_type or told_os or "linux",
            vmdk_type=read_vmdk_type(system.path) if system.format == "vmdk" else "",
        )  # fmt: skip
        images = plan_images(artifacts, name, guest, image_id=image_id, min_ram=min_ram)
        imported = _import_all(service, images, artifacts, display, parallel)
    _show(imported, as_json=as_json)


def _import_all(
    service: ImageService, images: list[GlanceImage], artifacts: list[Artifact], display: Display, parallel: int
) -> list[ImportedImage]:
    from ferry.together import for_each  # noqa: PLC0415
    from private_cloud.glance import check_names, import_image  # noqa: PLC0415

    check_names(service, images, artifacts)

    def work(item: tuple[GlanceImage, Artifact], stop: Stop) -> ImportedImage:
        image, artifact = item
        return import_image(service, image, artifact, progress=display.progress(image.name), stop=stop)

    return for_each(list(zip(images, artifacts, strict=True)), work, at_once=parallel)


def _of_workspace(workspace: Path, format_word: str, *, data_disks: bool) -> tuple[list[Artifact], str, str, str]:
    """Return the converted images, and the image they come from: its id, architecture and os_type, "" for unknown."""
    from converters.recorded import find_artifacts  # noqa: PLC0415
    from image_export.export import recorded_export  # noqa: PLC0415
    from migration.disk import DiskFormat  # noqa: PLC0415
    from migration.errors import InvalidInput  # noqa: PLC0415
    from migration.workspace import open_workspace  # noqa: PLC0415

    if not workspace.is_dir():
        raise InvalidInput(f"{workspace}: there is no such folder", "give the workspace of a migration")
    with open_workspace(workspace) as space:
        artifacts = list(find_artifacts(space, DiskFormat(format_word)))
        export = recorded_export(space)
    if not artifacts:
        raise InvalidInput(
            f"{workspace} has no {format_word} images", f"ferry convert --workspace {workspace} --to {format_word}"
        )
    if data_disks:
        _check_complete(workspace, format_word, {one.device for one in artifacts}, export)
    if export is None:
        return artifacts, "", "", ""
    image = export.image
    return artifacts, image.image_id, image.architecture, image.os_type


def _check_complete(workspace: Path, format_word: str, found: set[str], export: Export | None) -> None:
    """Raise `InvalidInput` if a disk of the guest has no image: a server without it may not come up."""
    from migration.disk_file import find_disks_in  # noqa: PLC0415
    from migration.errors import InvalidInput  # noqa: PLC0415

    there = {one.device for one in export.objects} if export is not None else set()
    if any((workspace / "disks").glob("[!.]*")):  # they may have been let go after converting
        there |= {disk.device for disk in find_disks_in(workspace / "disks")}
    if missing := sorted(there - found):
        raise InvalidInput(
            f"{workspace} has no {format_word} image of {', '.join(missing)}, or somebody wrote to it",
            f"ferry convert --workspace {workspace} --to {format_word}",
        )


def _of_files(words: tuple[str, ...], display: Display, *, data_disks: bool) -> list[Artifact]:
    """Return the images that the words mean, each with its digest, which takes one reading of it."""
    from ferry.together import for_each  # noqa: PLC0415
    from migration.artifact import Artifact  # noqa: PLC0415
    from migration.disk import DiskFormat, DiskRole, is_layer  # noqa: PLC0415
    from migration.disk_file import find_disks  # noqa: PLC0415
    from migration.errors import InvalidInput  # noqa: PLC0415
    from migration.qcow2_header import read_qcow2_header  # noqa: PLC0415
    from private_cloud.upload_body import digest_of  # noqa: PLC0415

    def work(disk: Disk, stop: Stop) -> Artifact:
        header = read_qcow2_header(disk.path) if disk.format is DiskFormat.QCOW2 else None
        if is_layer(disk.path) or (header is not None and not header.stands_alone):
            raise InvalidInput(
                f"{disk.path} is a layer over another file, and no image by itself", "make one with `ferry convert`"
            )
        size = disk.path.stat().st_size
        sha256 = digest_of(disk.path, "sha256", stop, display.progress(f"SHA-256 of {disk.name}"))
        return Artifact(
            device=disk.device, role=disk.role, path=disk.path, format=disk.format, virtual_size=disk.virtual_size,
            file_size=size, sha256=sha256, proof="",
        )  # fmt: skip

    disks = [disk for disk in find_disks(words) if data_disks or disk.role is DiskRole.SYSTEM]
    return for_each(disks, work, at_once=2)


def _firmware(word: str, system: Artifact) -> Firmware:
    from private_cloud.firmware import find_firmware, reader_of_image  # noqa: PLC0415
    from private_cloud.machine import Firmware  # noqa: PLC0415

    if word == "auto":
        return find_firmware(reader_of_image(system.path, system.format))
    return Firmware(word)


def _show(imported: list[ImportedImage], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"images": [asdict(one) for one in imported]}, indent=1))
        return
    for one in imported:
        click.echo(f"{one.name}  {one.image_id}  {'uploaded' if one.uploaded else 'there already'}; {one.proof}")
