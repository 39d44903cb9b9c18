"""The demo's libvirtd, once for all tests of a session; they are skipped, with the reason, where there can be none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from demo.private_libvirt import Libvirt, open_libvirt, why_no_libvirt

__all__ = ["Libvirt", "libvirt"]


@pytest.fixture(scope="session")
def libvirt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Libvirt]:
    """Run libvirtd for the session, or skip with the reason."""
    if reason := why_no_libvirt():
        pytest.skip(reason)
    with open_libvirt(tmp_path_factory.mktemp("lv")) as found:
        yield found
