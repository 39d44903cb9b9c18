"""Lines for the parser's tests: odd ones that were thought of, and any number of nearly right ones by a seed."""

from __future__ import annotations

import random

# Each is one line of an fstab without its newline.
ODD_LINES = (
    # what people write
    b"UUID=1114fe9e-2309-4580-b183-d778e6d97397 /                       ext4    defaults        1 1",
    b"/dev/vdb1 /mnt ext4 defaults 0 0", b'UUID="a-b"\t/data\txfs\tdefaults,nofail\t0\t2', b"LABEL=/x /y ext4 d 00 07",
    b"tmpfs /tmp tmpfs rw,size=1g,mode=1777 0 0", b"/dev/a none swap sw 0 0",
    b"//nas/share /n cifs user=a,pass=b,c 0 0",
    "# 数据盘".encode(), "/dev/vdb1 /数据 ext4 defaults 0 0".encode(), b"#", b" # x", b"  ", b"", b"\t",
    b"/dev/a#b /c#d e f",
    # fields that are missing, or too many
    b"/dev/a", b"/dev/a ", b"/dev/a /b", b"/dev/a /b ", b"/dev/a /b ext4", b"/dev/a /b ext4 ", b"/dev/a /b ext4 x",
    b"/dev/a /b ext4 x 0", b"/dev/a /b ext4 x 0 ", b"/dev/a /b ext4 x 0 1 2 3 4", b"/dev/a /b ext4 , 0 0",
    b"/dev/a /b ext4 ,, 0 0", b"/dev/a /b ext4 a,,b 0 0", b"/dev/a\t \t/b\t\text4  \t x \t0\t \t1\t ",
    # numbers
    b"/dev/a /b ext4 x y 1", b"/dev/a /b ext4 x 1y 1", b"/dev/a /b ext4 x 0 1y", b"/dev/a /b ext4 x 0 1 # c",
    b"/dev/a /b ext4 x # c", b"/dev/a /b ext4 # c", b"/dev/a /b ext4 x -1 +2", b"/dev/a /b ext4 x 0x10 07",
    b"/dev/a /b ext4 x - 1", b"/dev/a /b ext4 x +-1 1", b"/dev/a /b ext4 x 1 -", b"/dev/a /b ext4 x 1.0 2",
    b"/dev/a /b ext4 x 2147483648 4294967297", b"/dev/a /b ext4 x 99999999999999999999 -99999999999999999999",
    b"/dev/a /b ext4 x 99999999999999999999", b"/dev/a /b ext4 x 99999999999999999999 ",
    b"/dev/a /b ext4 x 0 99999999999999999999", b"/dev/a /b ext4 x 0 99999999999999999999 ",
    b"/dev/a /b ext4 x 9223372036854775807 -9223372036854775808 ", b"/dev/a /b ext4 x 9223372036854775808 1",
    b"/dev/a /b ext4 x " + b"9" * 3000 + b" 1", b"/dev/a /b ext4 x 0 " + b"0" * 3000 + b"7",
    b"/dev/a /b ext4 x \x0b5 1", b"/dev/a /b ext4 x \x0b 5", b"/dev/a /b ext4 x 5 \x0b\x0c 6", b"/dev/a /b ext4 x \x0b",
    b"/dev/a /b ext4 x 1\x0b 2", b"/dev/a /b ext4 x \xd9\xa1 1",
    # escapes
    b"/dev/a\\040x /b\\011\\012\\134\\101 ext4 d\\054e 0 1", b"\\043a /b ext4 x", b"/dev/a \\x /b", b"a b\\04 c d",
    b"a /\\\\b c d", b"a /\\\\040b c d", b"a /\\134040b c d", b"a /b\\ c d", b"a /b\\089 c d", b"a /b\\000c d e",
    b"a /b\\400c d e", b"a /b\\777c d e", b"a /b\\346\\225\\260 d e", b"\\040a /b c d", b"a \\040 c d",
    b"a /b c d\\134",
    b"a /b c d\\", b"a\\ b /c d e", b'"a b" /c d e', b"'a' /c d e", b"a\\011 b c d", b"\\012 /b c d", b"a /b\\0400 c d",
    # bytes
    b"/dev/a /b ext4 x\r", b"/dev/a /b ext4 x 0 1\r", b"/dev/a /b ext4 x 0 0 \r", b"/dev/a /b ext4 \r", b"/dev/a /b\r",
    b"/dev/a\r", b"\r", b" \r", b"\r\r", b"#\r", b"a b\rc d", b"a b c d\r\r", b"a b c d 0 0\r\r", b"\r/dev/a /b c d",
    b"\x0c/dev/a /b ext4", b"/dev/a\x0b/b ext4 x", b"/dev/a /\xff ext4 x", b"\xef\xbb\xbf/dev/a /b ext4 x 0 0",
    b"/dev/a /\x1b[2J ext4 x", b"/dev/a /\xc2\xa0 ext4 x", b"/dev/a\xc2\xa0/b ext4 x", b"/dev/a /\xe3\x80\x80 ext4 x",
    b"/dev/a /\xca\xfd\xbe\xdd ext4 defaults 0 0", b"/dev/a /\x7f ext4 x", b"/dev/a /\x85 ext4 x", b"a /\x01\x02 c d",
    # NUL, where C ends
    b"a\0b /b ext4 x", b"a /b ext4 x\0y 0 0", b"a /b ext4 x 0 0\0", b"\0", b"\0a b c d", b"# c\0d", b"a /b\0", b" \0 x",
    # lines beyond glibc's buffer
    b"a /b ext4 " + b"o" * 4085 + b" 0 0", b"a /b ext4 " + b"o" * 4084, b"a /b ext4 " + b"o" * 4085,
    b"a" * 5000 + b" /b c d",
    b"# " + b"c" * 5000, b" " * 5000 + b"a /b c d", b"a /b c d 0 0" + b" " * 5000, b"a /b c " + b"\\040" * 1100,
    b"#" * 4094,
    b"a /b ext4 " + b"o" * 4080 + b"\0" + b"p" * 2000, b"a /b ext4 x " + b"0" * 5000 + b" 1",
    # what getmntent passes over
    b"a /b autofs ignore", b"a /b autofs ignore=1,x", b"a /b autofs x,ignore", b"a /b autofs x", b"a /b ext4 ignore",
)  # fmt: skip

_WORDS = (
    b"/dev/vdb1", b"/data", b"ext4", b"defaults", b"UUID=a-b", b"none", b"swap", b"rw,nofail", b"0", b"1", b"2",
    b"a,b=c",
    b"tmpfs", b"/", b"LABEL=", b"x-systemd.device-timeout=5", b"+1", b"-1", b"1x", b"# c", b"//n/s", b"\xe6\x95\xb0",
)  # fmt: skip
_ODDITIES = (
    b"\\040", b"\\011", b"\\012", b"\\134", b"\\\\", b"\\", b"\\054", b"\\000", b"\\377", b"\\4", b'"', b"'", b"#",
    b",",
    b"\r", b"\x0b", b"\x0c", b"\x1b", b"\xff", b"\xc2\xa0", b"\x7f", b"0", b"7", b"+", b"-", b"=", b" ", b"\t", b".",
    b"/",
)  # fmt: skip
_RARE = (b"\0", b"o" * 4090, b"9" * 25, b" " * 4100)
_SEPARATORS = (b" ", b" ", b" ", b"\t", b"  ", b" \t ", b"")


def nearly_right_lines(count: int, *, seed: int = 0) -> list[bytes]:
    """Return `count` lines with fields as they should be, most of them with something odd put into them."""
    source = random.Random(seed)
    return [_nearly_right(source) for _ in range(count)]


def _nearly_right(source: random.Random) -> bytes:
    words = [source.choice(_WORDS) for _ in range(source.choice((0, 1, 2, 3, 4, 5, 6, 6, 6, 6, 7)))]
    line = bytearray(source.choice((b"", b"", b"", b" ", b"\t", b"#")))
    for word in words:
        line += word + source.choice(_SEPARATORS)
    for _ in range(source.choice((0, 1, 1, 2, 3, 5))):
        odd = source.choice(_RARE) if source.random() < 0.01 else source.choice(_ODDITIES)
        place = source.randint(0, len(line))
        line[place:place] = odd
    if source.random() < 0.05:
        line += b"\r"
    return bytes(line).replace(b"\n", b"")
