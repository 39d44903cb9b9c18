"""The codes and their documentation cannot drift apart."""

from __future__ import annotations

import json
import re
from pathlib import Path

from fstab_check.codes import Code
from fstab_check.render import JSON_VERSION, verdict_as_dict
from tests.fstab_check_fixtures import GOOD_FSTAB, judge

DOCUMENT = (Path(__file__).parent.parent / "docs" / "fstab-findings.md").read_text(encoding="utf-8")


def test_every_code_has_its_section_and_every_section_its_code() -> None:
    sections = re.findall(r"^### `([a-z-]+)`$", DOCUMENT, re.MULTILINE)
    assert sorted(sections) == sorted(Code)


def test_every_section_tells_the_severity_first() -> None:
    for code, text in re.findall(r"^### `([a-z-]+)`\n(.+)$", DOCUMENT, re.MULTILINE):
        assert re.match(r"(Error|Warning|Info|By the line)\b", text), code


def test_documented_json_has_the_keys_that_are_written() -> None:
    match = re.search(r"```json\n(.*?)```", DOCUMENT, re.DOTALL)
    assert match is not None
    documented = json.loads(match[1])
    written = json.loads(json.dumps(verdict_as_dict(judge(GOOD_FSTAB + "/dev/vdd1 /d ext4\n"))))
    assert documented["version"] == JSON_VERSION
    assert documented.keys() == written.keys()
    assert documented["findings"][0].keys() == written["findings"][0].keys()
    assert documented["lines"][0].keys() == written["lines"][0].keys()
    documented, written = documented["targets"]["virtio"], written["targets"]["virtio"]
    assert documented.keys() == written.keys()
    assert documented["lines"][0].keys() == written["lines"][0].keys()
