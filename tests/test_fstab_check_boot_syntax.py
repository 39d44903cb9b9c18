from __future__ import annotations

import pytest

from fstab_check.boot_config import parse_boot_config
from fstab_check.boot_syntax import BootFileKind, arguments_told, is_command_line, loads_initramfs, starts_entry


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b"\tlinux /boot/vmlinuz-6.1 root=/dev/vda1 ro \r", b"root=/dev/vda1 ro"),
        (b"linuxefi /vmlinuz root=/dev/vda1", b"root=/dev/vda1"),
        (b"linux16 /vmlinuz root=/dev/vda1", b"root=/dev/vda1"),
        (b"  kernel /vmlinuz root=/dev/vda1", b"root=/dev/vda1"),
        (b"    APPEND root=/dev/vda1", b"root=/dev/vda1"),
        (b"options root=/dev/vda1 $tuned_params", b"root=/dev/vda1 $tuned_params"),
        (b"linux /boot/vmlinuz-6.1", None),
        (b"#linux /v root=/dev/vda1", None),
        (b"title root=/dev/vda1", None),
    ],
)
def test_what_a_kernel_is_told_is_found_in_every_grammar(line: bytes, told: bytes | None) -> None:
    assert arguments_told(line) == told


def test_lines_of_one_kernel_are_told_from_those_of_the_next() -> None:
    assert [starts_entry(line) for line in (b"menuentry 'x' {", b" linux /v a", b"title x", b" initrd /i")] == [
        True, True, True, False,
    ]  # fmt: skip
    assert [loads_initramfs(line) for line in (b"\tinitrd16 /i", b"initrdefi /i", b"initrd=/i")] == [True, True, False]
    assert is_command_line(BootFileKind.GRUB_ENVIRONMENT, b"kernelopts=root=/dev/vda1 ro")
    assert not is_command_line(BootFileKind.LOADER_ENTRY, b"linux /v root=/dev/vda1")


def test_lines_are_counted_and_words_are_cut_as_the_boot_loader_does() -> None:
    menu = "# a form feed: \f and a line separator: \u2028\nlinux /v root=LABEL=a\u00a0b $opts\n".encode()
    [entry] = parse_boot_config({"/boot/grub/grub.cfg": menu, "/boot/grub/grubenv": b"opts=ro quiet\n"}).entries
    assert (entry.line, entry.arguments) == (2, ("root=LABEL=a\u00a0b", "ro", "quiet"))
