"""Limits of the cloud as data: what they are, since when, who says so, and how much it means to pass them.

They change and the vendor's own pages disagree, so each can be overridden: `LIMITS.override(data_disks=16)`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from image_export.outcome import Outcome
from migration.image import GIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One limit: `value` is still allowed, anything above has the `outcome` WARN or REFUSE."""

    value: int
    as_of: str  # when it was printed, as exactly as is known
    source: str
    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """All limits the preflight knows. Sizes are bytes.

    `format_regions` are the regions in which an export in another format than RAW is offered.
    `least_fill` is no limit of the cloud but what we demand of this machine: room for disks that are
    filled to so many per cent.
    """

    data_disks: Limit
    usual_data_disk_size: Limit
    data_disk_size: Limit
    prefix_length: Limit
    least_fill: Limit
    format_regions: frozenset[str]

    def override(self, **values: int) -> Limits:
        """Return limits with other values: `override(data_disks=16, least_fill=0)`. Raises `TypeError` for a typo."""
        unknown = [name for name in values if not isinstance(getattr(self, name, None), Limit)]
        if unknown:
            raise TypeError(f"there is no limit called {', '.join(unknown)}")
        changed = {
            name: replace(getattr(self, name), value=value, as_of="now", source="given by the caller")
            for name, value in values.items()
        }
        return replace(self, **changed)


LIMITS = Limits(
    data_disks=Limit(
        value=4,
        as_of="before 2024",
        source="vendor's early export guide and the text of InvalidImage.DiskAmountOrSize; newer pages print no count",
        outcome=Outcome.WARN,
    ),
    usual_data_disk_size=Limit(
        value=500 * GIB,
        as_of="before 2024",
        source="vendor's early export guide",
        outcome=Outcome.WARN,
    ),
    data_disk_size=Limit(
        value=2048 * GIB,
        as_of="2024-01",
        source="vendor's user guide, export a custom image",
        outcome=Outcome.REFUSE,
    ),
    prefix_length=Limit(value=30, as_of="2026-04", source="vendor's ExportImage page", outcome=Outcome.REFUSE),
    least_fill=Limit(value=10, as_of="now", source="a guess: a disk holds at least so much", outcome=Outcome.REFUSE),
    # Vendor's ExportImage page, April 2026. Mumbai and Sydney stood there in 2024; both are closed.
    format_regions=frozenset({
        "ap-northeast-1", "ap-southeast-1", "ap-southeast-3", "ap-southeast-5", "eu-central-1", "eu-west-1",
        "me-east-1", "us-east-1", "us-west-1",
    }),
)  # fmt: skip
