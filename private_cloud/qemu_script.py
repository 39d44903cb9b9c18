"""Renders a machine as a shell script that runs it with plain QEMU right away, for a look at it on any Linux."""

from __future__ import annotations

import shlex
from pathlib import Path

from migration.acceleration import BOOT_SECTOR, PROGRAM, PROOF_TIMEOUT, PROVEN, proof_argv
from private_cloud.firmware import OVMF
from private_cloud.machine import Firmware, controller_words, disk_device
from private_cloud.shell import Assignments, header
from private_cloud.virtual_machine import Nic, VirtualMachine

# KVM may be there and let no guest run, or let it hang; QEMU falls back by itself only where it is missing.
_PROBE = """\
kvm_works() {{
  folder=$(mktemp -d) || return 1
  {{ printf '{program}'; head -c {gap} /dev/zero; printf '{signature}'; }} > "$folder/sector"
  status=0
  (cd "$folder" && exec timeout -k 1 {seconds:g} {argv}) < /dev/null > /dev/null 2>&1 || status=$?
  rm -rf -- "$folder"
  [ "$status" -eq {proven} ]
}}
"""

_SCRIPT = """\
{header}
{probe}
keep=-snapshot
case ${{1:-}} in
  '') ;;
  --keep) keep= ;;
  *) echo "usage: $0 [--keep]" >&2; exit 2 ;;
esac
if [ -n "$keep" ]; then
  echo "The images stay as they are: what the guest writes is thrown away. With --keep it is kept." >&2
fi
echo "The serial console of {name}; Ctrl-A X ends the machine." >&2

images=$(printf %s "$images" | sed 's/,/,,/g') # a comma ends a value in QEMU's option language
set -- -name {name} -machine {chipset},graphics=off -cpu max,la57=off -smp {cpus} -m {memory} \\
  -no-user-config -nodefaults -vga std -display none -serial mon:stdio
if [ -z "${{ACCEL:-}}" ]; then
  if kvm_works; then
    ACCEL=kvm
  else
    ACCEL=tcg
    echo "KVM runs no guest here: this is emulation, which is many times slower." >&2
  fi
fi
set -- "$@" -accel "$ACCEL"
{uefi}set -- "$@" -netdev "user,id=net-0${{SSH_PORT:+,hostfwd=tcp:127.0.0.1:$SSH_PORT-:22}}" -device {nic}
{disks}
exec qemu-system-x86_64 "$@" $keep
"""

_UEFI = """\
variables=$here/{name}-uefi-variables.fd # the machine's own, kept from start to start
code=
while read -r program empty; do
  if [ -e "$program" ] && [ -e "$empty" ]; then
    code=$program
    [ -e "$variables" ] || cp -- "$empty" "$variables"
    break
  fi
done <<'EOF'
{firmwares}
EOF
if [ -z "$code" ]; then
  echo "OVMF, the UEFI for QEMU, is not installed here: apt-get install ovmf, or dnf install edk2-ovmf" >&2
  exit 1
fi
set -- "$@" -drive "if=pflash,unit=0,format=raw,readonly=on,file=$code" \\
  -drive "if=pflash,unit=1,format=raw,file=$(printf %s "$variables" | sed 's/,/,,/g')"
"""

_NICS = {Nic.VIRTIO: "virtio-net-pci", Nic.E1000E: "e1000e", Nic.VMXNET3: "vmxnet3"}


def render_qemu_script(machine: VirtualMachine, images: str) -> str:
    """Return the script; `images` is the folder of the images, relative to that of the script."""
    name = shlex.quote(machine.name)
    uefi = _UEFI.format(name=name, firmwares="\n".join(" ".join(pair) for pair in OVMF))
    nic = f"{_NICS[machine.nic]},netdev=net-0" + (f",mac={machine.mac}" if machine.mac else "")
    controller = " ".join(controller_words(machine.bus))
    return _SCRIPT.format(
        header=header(
            f"Runs the machine {machine.name} with QEMU, its console in this terminal.",
            Assignments(
                ACCEL="kvm where that runs a guest, else tcg (emulation)",
                SSH_PORT="no port here leads to the guest's port 22",
            ),
            images,
        ),
        probe=_probe(),
        name=name,
        chipset=machine.chipset,
        cpus=machine.cpus,
        memory=machine.memory,
        uefi=uefi if machine.firmware is Firmware.UEFI else "",
        nic=nic,
        disks=(f'set -- "$@" {controller}\n' if controller else "")
        + "\n".join(_disk(machine, number) for number in range(len(machine.disks))),
    )


def _probe() -> str:
    return _PROBE.format(
        program=_octal(PROGRAM),
        gap=len(BOOT_SECTOR) - len(PROGRAM) - 2,
        signature=_octal(BOOT_SECTOR[-2:]),
        argv=shlex.join(proof_argv(Path("sector"), "kvm")),
        seconds=PROOF_TIMEOUT,
        proven=PROVEN,
    )


def _octal(code: bytes) -> str:
    return "".join(f"\\{byte:03o}" for byte in code)


def _disk(machine: VirtualMachine, number: int) -> str:
    disk = machine.disks[number]
    file = shlex.quote(disk.path.name.replace(",", ",,"))
    drive = f'"if=none,id=disk-{number},format={disk.format},discard=unmap,file=$images/"{file}'
    return f'set -- "$@" -drive {drive} \\\n  -device {disk_device(machine.bus, number)},bootindex={number + 1}'
