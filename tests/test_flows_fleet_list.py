"""A list of images is read as it was meant, or refused with the line that is wrong."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from flows.fleet_list import FleetImage, list_of_ids, parse_fleet, read_fleet_file
from migration.errors import InvalidInput

ids = st.from_regex(r"m-[A-Za-z0-9]{3,20}", fullmatch=True)
images = st.builds(
    FleetImage,
    image_id=ids,
    formats=st.none() | st.lists(st.sampled_from(["qcow2", "vmdk"]), min_size=1, unique=True).map(tuple),
    compress=st.none() | st.booleans(),
    on_fstab_mismatch=st.none() | st.sampled_from(["fail", "warn", "repair"]),
)
fleets = st.lists(images, min_size=1, max_size=6, unique_by=lambda image: image.image_id)


@given(fleets, st.sampled_from(",;\t"))
def test_csv_says_what_was_written(fleet: list[FleetImage], delimiter: str) -> None:
    stream = io.StringIO()
    names = ["image_id", "formats", "compress", "on_fstab_mismatch"]
    writer = csv.writer(stream, delimiter=delimiter)
    writer.writerow(names)
    for image in fleet:
        values = {"image_id": image.image_id, **image.differences()}
        formats = " ".join(values.get("formats", []))
        writer.writerow([values["image_id"], formats, values.get("compress", ""), values.get("on_fstab_mismatch", "")])
    assert list(parse_fleet(stream.getvalue(), "fleet.csv", is_yaml=False)) == fleet


@given(fleets, st.booleans())
def test_yaml_says_what_was_written(fleet: list[FleetImage], wrapped: bool) -> None:
    entries = [{"image_id": image.image_id, **image.differences()} for image in fleet]
    plain = [
        {key: [str(one) for one in value] if isinstance(value, list) else value for key, value in entry.items()}
        for entry in entries
    ]
    document = {"images": plain} if wrapped else plain
    assert list(parse_fleet(yaml.safe_dump(document), "fleet.yaml", is_yaml=True)) == fleet


@given(st.text(max_size=200), st.booleans())
def test_any_text_is_a_list_or_refused(text: str, is_yaml: bool) -> None:
    try:
        found = parse_fleet(text, "some", is_yaml=is_yaml)
    except InvalidInput:
        return
    assert found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("", "lists no image", id="empty"),
        pytest.param("image_id\n", "lists no image", id="header-only"),
        pytest.param("name\nweb\n", "no column image_id", id="no-ids"),
        pytest.param("image_id,image_id\nm-abc,m-abd\n", "one twice", id="column-twice"),
        pytest.param("image_id\nm-abc\n../../etc\n", "f.csv:3: image_id", id="no-id"),
        pytest.param("image_id,format\nm-abc,qcow2\n", "f.csv:2: format: Extra inputs", id="misspelt-column"),
        pytest.param("image_id,formats\nm-abc,iso\n", "f.csv:2: formats", id="no-format"),
        pytest.param("image_id\nm-abc,qcow2\n", "f.csv:2: more cells", id="cell-without-a-column"),
        pytest.param('image_id\n"m-abc\n"\n', "over more than one line", id="cell-of-two-lines"),
        pytest.param("image_id,compress\nm-abc,true\nm-abc,false\n", "listed twice", id="contradiction"),
    ],
)
def test_wrong_csv_is_refused_with_its_line(text: str, said: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_fleet(text, "f.csv", is_yaml=False)
    assert said in refused.value.message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("a: [", "f.yaml:1: not YAML", id="syntax"),
        pytest.param("m-abc", "not a list", id="a-word"),
        pytest.param("[[m-abc]]", "image 1: neither", id="nested"),
        pytest.param("[{image_id: m-abc, formats: []}]", "names nothing", id="no-formats"),
        pytest.param("[!!python/object/apply:os.getcwd []]", "not YAML", id="code"),
        pytest.param("[2026-99-99]", "not YAML", id="no-date"),
    ],
)
def test_wrong_yaml_is_refused(text: str, said: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_fleet(text, "f.yaml", is_yaml=True)
    assert said in refused.value.message


def test_list_of_lists_of_lists_costs_nothing() -> None:
    laughs = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30))
    with pytest.raises(InvalidInput):
        parse_fleet(laughs, "f.yaml", is_yaml=True)
    with pytest.raises(InvalidInput):
        parse_fleet(f"images:\n- image_id: m-abc\n  formats: &a {'[' * 60}x{']' * 60}\n", "f.yaml", is_yaml=True)


def test_plain_ids_comments_and_a_byte_order_mark_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "ids.txt"
    path.write_bytes("\ufeff# the web servers\nm-bp1aaa\n\nm-bp1bbb\r\nm-bp1aaa\n".encode())
    assert [image.image_id for image in read_fleet_file(path)] == ["m-bp1aaa", "m-bp1bbb"]


def test_file_that_cannot_be_read_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "latin.csv").write_bytes(b"image_id\nm-\xe4\xf6\n")
    for name in ("missing.csv", "latin.csv", "."):
        with pytest.raises(InvalidInput):
            read_fleet_file(tmp_path / name)


def test_list_of_ids_names_the_one_that_is_none() -> None:
    assert [image.image_id for image in list_of_ids(["m-abc", "m-abc", "m-abd"])] == ["m-abc", "m-abd"]
    with pytest.raises(InvalidInput, match="image_id"):
        list_of_ids(["i-abc"])
