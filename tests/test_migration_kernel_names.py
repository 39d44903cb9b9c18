from __future__ import annotations

import pytest

from migration.kernel_names import module_name, release_order


def test_releases_are_ordered_by_their_numbers() -> None:
    releases = ["6.1.0-10-amd64", "6.10.1", "5.15.0-200-generic", "6.1.0-9-amd64"]
    assert sorted(releases, key=release_order) == ["5.15.0-200-generic", "6.1.0-9-amd64", "6.1.0-10-amd64", "6.10.1"]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("kernel/drivers/virtio/virtio-ring.ko.xz", "virtio_ring"),
        ("/lib/modules/6.1/xfs.ko", "xfs"),
        ("nvme", "nvme"),
        ("", ""),
    ],
)
def test_module_is_named_as_the_kernel_names_it(path: str, name: str) -> None:
    assert module_name(path) == name
