"""Renders a machine for OpenStack: properties of its images, a script of the command-line client, a Heat template."""

from __future__ import annotations

import shlex
from typing import Any

from migration.artifact import Artifact
from migration.image import GIB
from private_cloud.glance_properties import guest_properties
from private_cloud.shell import Assignments, header
from private_cloud.virtual_machine import VirtualMachine, stem_of

_SCRIPT = """\
{header}
if [ -z "${{FLAVOR:-}}" ] || [ -z "${{NETWORK:={network}}}" ]; then
  echo "say which: FLAVOR=… NETWORK=… sh $0 (the guest wants {cpus} processors and {memory} MiB)" >&2
  exit 2
fi

# From here on a failure leaves nothing behind.
made=
undo() {{
  echo "removing what was made so far" >&2
  for thing in $made; do
    openstack "${{thing%%:*}}" delete "${{thing#*:}}" >&2 || :
  done
}}
trap undo EXIT
trap 'exit 130' INT TERM HUP

upload() {{ # NAME FILE FORMAT GIB; sets $image
  image=$(openstack image create "$1" --file "$images/$2" --disk-format "$3" --container-format bare \\
    --min-disk "$4" --min-ram {memory} --private -f value -c id{properties})
  made="image:$image $made"
}}

as_volume() {{ # NAME GIB; makes it of $image, sets $volume
  volume=$(openstack volume create "$1" --size "$2" --image "$image" -f value -c id)
  made="volume:$volume $made"
  waited=0
  while :; do
    status=$(openstack volume show "$volume" -f value -c status)
    case $status in
      available) return ;;
      error*) echo "volume $1: $status" >&2; exit 1 ;;
    esac
    waited=$((waited + 1))
    if [ "$waited" -gt 720 ]; then
      echo "volume $1 is still $status after an hour" >&2
      exit 1
    fi
    sleep 5
  done
}}

set -- # the block devices, in the order of the guest's disks
{disks}
{port}openstack server create {name} --flavor "$FLAVOR" {nic} "$@" >&2

trap - EXIT
echo "made; look at it with: openstack console log show {name}"
"""

_PORT = """\
port=$(openstack port create {name} --network "$NETWORK" --mac-address {mac} -f value -c id)
made="port:$port $made"
"""


def image_properties(machine: VirtualMachine) -> dict[str, str]:
    """Return what Glance is told of each image, so that Nova gives the guest the machine that it needs."""
    properties = guest_properties(firmware=machine.firmware, target=machine.bus, architecture=machine.architecture)
    return {**properties, "hw_vif_model": str(machine.nic)}


def volume_gib(image: Artifact) -> int:
    """Return the size of a volume that holds the disk: whole GiB, rounded up."""
    return -(-image.virtual_size // GIB)


def image_name(machine: VirtualMachine, image: Artifact) -> str:
    """Return what the image, and the volume made of it, are called."""
    return f"{machine.name}-{stem_of(image)}"


def render_client_script(machine: VirtualMachine, images: str) -> str:
    """Return a script that uploads, makes volumes and starts the server; `images` is relative to its folder."""
    properties = "".join(
        f" \\\n    --property {shlex.quote(f'{key}={value}')}" for key, value in image_properties(machine).items()
    )
    return _SCRIPT.format(
        header=header(
            f"Brings the machine {machine.name} to OpenStack, with the client's usual OS_* variables or OS_CLOUD.",
            Assignments(FLAVOR="of the server; must be said", NETWORK=machine.network or "must be said"),
            images,
        ),
        network=shlex.quote(machine.network) if machine.network else "",
        cpus=machine.cpus,
        memory=machine.memory,
        properties=properties,
        port=_PORT.format(name=shlex.quote(machine.name), mac=machine.mac) if machine.mac else "",
        nic='--port "$port"' if machine.mac else '--network "$NETWORK"',
        name=shlex.quote(machine.name),
        disks="\n".join(_disk_lines(machine, number) for number in range(len(machine.disks))),
    )


def _disk_lines(machine: VirtualMachine, number: int) -> str:
    image = machine.disks[number]
    name, size = shlex.quote(image_name(machine, image)), volume_gib(image)
    # Only the system disk has a place in the order of booting; the others follow in the order they are named in.
    boot_index = 0 if number == 0 else -1
    device = f"source_type=volume,destination_type=volume,boot_index={boot_index},disk_bus={machine.bus}"
    return (
        f"upload {name} {shlex.quote(image.path.name)} {image.format} {size}\n"
        f"as_volume {name} {size}\n"
        f'set -- "$@" --block-device "uuid=$volume,{device},delete_on_termination=false"'
    )


def render_heat_template(machine: VirtualMachine) -> str:
    """Return a template that makes the volumes and the server of images that are in Glance already."""
    import yaml  # noqa: PLC0415  # half of the callers need no YAML

    text: str = yaml.safe_dump(_heat_document(machine), sort_keys=False, allow_unicode=True, width=120)
    return f"# The machine {machine.name}, made by Ferry. Its images must be in Glance.\n{text}"


def _heat_document(machine: VirtualMachine) -> dict[str, Any]:
    parameters: dict[str, Any] = {
        "flavor": {
            "type": "string",
            "description": f"At least {machine.cpus} processors and {machine.memory} MiB",
            "constraints": [{"custom_constraint": "nova.flavor"}],
        },
        "network": {"type": "string", "constraints": [{"custom_constraint": "neutron.network"}]},
    }
    if machine.network:
        parameters["network"]["default"] = machine.network
    resources: dict[str, Any] = {}
    devices = []
    for number, image in enumerate(machine.disks):
        stem = stem_of(image)
        parameters[f"image_{stem}"] = {
            "type": "string",
            "default": image_name(machine, image),
            "constraints": [{"custom_constraint": "glance.image"}],
        }
        resources[f"volume_{stem}"] = {
            "type": "OS::Cinder::Volume",
            "properties": {
                "name": image_name(machine, image),
                "image": {"get_param": f"image_{stem}"},
                "size": volume_gib(image),
            },
        }
        devices.append(
            {
                "volume_id": {"get_resource": f"volume_{stem}"},
                "boot_index": 0 if number == 0 else -1,
                "disk_bus": str(machine.bus),
                "delete_on_termination": False,
            }
        )
    interface: dict[str, Any] = {"network": {"get_param": "network"}}
    if machine.mac:
        resources["port"] = {
            "type": "OS::Neutron::Port",
            "properties": {"network": {"get_param": "network"}, "mac_address": machine.mac},
        }
        interface = {"port": {"get_resource": "port"}}
    resources["server"] = {
        "type": "OS::Nova::Server",
        "properties": {
            "name": machine.name,
            "flavor": {"get_param": "flavor"},
            "networks": [interface],
            "block_device_mapping_v2": devices,
        },
    }
    return {
        "heat_template_version": "2018-08-31",
        "description": f"{machine.name}: {machine.operating_system or 'a Linux server'}, {machine.firmware.upper()}",
        "parameters": parameters,
        "resources": resources,
    }
