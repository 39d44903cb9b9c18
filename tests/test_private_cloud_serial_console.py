from __future__ import annotations

import pytest

from private_cloud.serial_console import WORDS, with_serial_console

GRUB = """\
set timeout=5
menuentry 'Debian' {
\tinsmod gzio
\tlinux\t/boot/vmlinuz-6.1 root=UUID=1 ro  quiet splash
\tinitrd\t/boot/initrd.img-6.1
}
"""


def test_linux_lines_of_grub_speak_on_the_serial_port() -> None:
    edited = with_serial_console(GRUB)
    assert f"\tlinux\t/boot/vmlinuz-6.1 root=UUID=1 ro {WORDS}\n" in edited.replace("  ", " ")
    assert "quiet" not in edited
    assert "splash" not in edited
    assert edited.replace("\n", "").startswith("set timeout=5menuentry 'Debian' {\tinsmod gzio")
    assert edited.endswith("\tinitrd\t/boot/initrd.img-6.1\n}\n")


@pytest.mark.parametrize("command", ["linux16", "linuxefi", "kernel"])
def test_older_spellings_of_grub_are_known(command: str) -> None:
    edited = with_serial_console(f"  {command} /vmlinuz root=/dev/vda1 rhgb quiet\n")
    assert edited == f"  {command} /vmlinuz root=/dev/vda1 {WORDS}\n"


def test_entry_of_the_boot_loader_specification_keeps_its_kernel_line() -> None:
    entry = "title CentOS\nlinux /vmlinuz-5.14\ninitrd /initramfs.img\noptions root=UUID=1 ro quiet $tuned_params\n"
    edited = with_serial_console(entry).splitlines()
    assert edited == [
        "title CentOS",
        "linux /vmlinuz-5.14",
        "initrd /initramfs.img",
        f"options root=UUID=1 ro $tuned_params {WORDS}",
    ]


def test_a_console_that_is_there_already_comes_before_ours() -> None:
    edited = with_serial_console("linux /vmlinuz console=ttyS0 console=tty1\n")
    assert edited == f"linux /vmlinuz console=ttyS0 console=tty1 {WORDS}\n"


def test_bytes_that_are_no_text_stay() -> None:
    text = b"# caf\xe9\nlinux /vmlinuz ro\r\n".decode("utf-8", "surrogateescape")
    assert with_serial_console(text).encode("utf-8", "surrogateescape").startswith(b"# caf\xe9\nlinux /vmlinuz ro con")
