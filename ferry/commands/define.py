"""`ferry define`: the machine for each platform of the other side, from the images and from what is in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ferry.options import json_option, workspace_option

if TYPE_CHECKING:
    from ferry.progress import Display
    from migration.progress import Stop
    from migration.workspace import Workspace
    from private_cloud.definition import Definitions
    from private_cloud.machine_plan import Wishes
    from private_cloud.platforms import Platform

FORMATS = ("libvirt", "ova", "ovf", "openstack", "proxmox", "qemu")
TARGETS = ("virtio", "scsi", "sata", "ide", "nvme", "vmware")


@click.command("define", epilog="Exit codes: 0 done, 1 the guest is not foretold to boot there, others as everywhere.")
@click.argument("disks", nargs=-1, metavar="[DISK]...")
@workspace_option(required=False)
@click.option(
    "-f", "--format", "formats", multiple=True, type=click.Choice(FORMATS),
    help="May be repeated.  [default: all that the images allow but ova and ovf, which hold the images once more]",
)  # fmt: skip
@click.option(
    "-o", "--output", type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the definitions.  [default: definitions, in the workspace or here]",
)  # fmt: skip
@click.option("--name", default="", help="Of the machine.  [default: the image's]")
@click.option("--memory", type=click.IntRange(128), default=2048, show_default=True, metavar="MIB")
@click.option("--cpus", type=click.IntRange(1, 512), default=2, show_default=True)
@click.option("--network", default="", help="What it is called over there.  [default: as usual on the platform]")
@click.option(
    "--mac", default="", metavar="ADDRESS", help="Of the network card.  [default: one that the platform makes]"
)
@click.option(
    "-t", "--target", type=click.Choice(TARGETS),
    help="What the disks hang on.  [default: the first that the guest is foretold to boot from]",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Define it even if it is not foretold to boot.")
@json_option
def command(
    disks: tuple[str, ...], workspace: Path | None, formats: tuple[str, ...], output: Path | None, name: str,
    memory: int, cpus: int, network: str, mac: str, target: str | None, *, force: bool, as_json: bool,
) -> None:  # fmt: skip
    """Define the machine for libvirt, VMware, OpenStack, Proxmox, QEMU.

    DISK is an image named as they are made (system.qcow2, data_xvdb.qcow2), or DEVICE=FILE. With --workspace its
    images are taken. The folder that is written has a README.txt with the one command of each platform.

    What the machine must have is read off the images: the firmware, and the bus that the check of /etc/fstab
    foretells a boot from.
    """
    from ferry.interruptible import run_interruptible  # noqa: PLC0415
    from ferry.progress import open_display  # noqa: PLC0415
    from migration.errors import InvalidInput  # noqa: PLC0415
    from migration.target import Target  # noqa: PLC0415
    from migration.workspace import open_workspace  # noqa: PLC0415
    from private_cloud.machine_plan import Wishes  # noqa: PLC0415
    from private_cloud.platforms import Platform  # noqa: PLC0415

    if (workspace is None) == (not disks):
        raise InvalidInput("say what to define", "give images, or --workspace")
    platforms = tuple(Platform(word) for word in dict.fromkeys(formats))
    wishes = Wishes(
        name=name, memory=memory, cpus=cpus, network=network, mac=mac,
        target=Target(target) if target is not None else None, force=force,
    )  # fmt: skip

    def work(space: Workspace | None, display: Display, stop: Stop) -> Definitions:
        folder = output or (space.definitions if space is not None else Path("definitions"))
        return _define(disks, space, folder, platforms, wishes, display, stop)

    with open_display() as display:
        if workspace is not None:
            with open_workspace(workspace) as space:
                made = run_interruptible(lambda stop: work(space, display, stop))
        else:
            made = run_interruptible(lambda stop: work(None, display, stop))
    folder = (output or (workspace / "definitions" if workspace is not None else Path("definitions"))).absolute()
    click.echo(_render_json(made, folder) if as_json else _render_text(made, folder))


def _define(
    words: tuple[str, ...], space: Workspace | None, folder: Path, platforms: tuple[Platform, ...], wishes: Wishes,
    display: Display, stop: Stop,
) -> Definitions:  # fmt: skip
    from ferry.guest_images import guest_in, images_of_files, images_of_workspace  # noqa: PLC0415
    from migration.disk import DiskFormat  # noqa: PLC0415
    from private_cloud.definitions import check_folder, write_definitions  # noqa: PLC0415
    from private_cloud.machine_plan import group_images, plan_machines, possible_platforms  # noqa: PLC0415

    check_folder(folder)  # before minutes are spent on a look
    images = images_of_workspace(space) if space is not None else images_of_files(words, display.progress, stop)
    sets = group_images(images)
    # Any complete set will do: that all hold the same bytes was proven. QEMU is quicker with qcow2 than with VMDK.
    best = max(sets, key=lambda kind: (len(sets[kind]), kind is DiskFormat.QCOW2))
    guest = guest_in(space, sets[best], stop)
    machines = plan_machines(sets, platforms or possible_platforms(sets, guest.devices), guest, wishes)
    return write_definitions(machines, folder, progress=display.progress("writing images"), stop=stop)


def _render_json(made: Definitions, folder: Path) -> str:
    from pydantic import TypeAdapter  # noqa: PLC0415

    from private_cloud.definition import Definitions  # noqa: PLC0415
    from private_cloud.definitions_readme import command_of  # noqa: PLC0415

    document = TypeAdapter(Definitions).dump_python(made, mode="json")
    for definition, found in zip(document["definitions"], made.definitions, strict=True):
        definition["command"] = command_of(found)[0]
    return json.dumps({**document, "folder": str(folder)}, indent=1)


def _render_text(made: Definitions, folder: Path) -> str:
    lines = []
    for definition in made.definitions:
        machine = definition.machine
        about = f"{definition.platform}, disks on {machine.bus}, {machine.firmware.upper()}"
        lines += [f"{folder / name}  {about}" for name in definition.files]
    notes = dict.fromkeys(note for definition in made.definitions for note in definition.machine.notes)
    return "\n".join([*lines, *(f"note: {note}" for note in notes), f"what to do with them: {folder / 'README.txt'}"])
