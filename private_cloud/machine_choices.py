"""Decides what only a look at the guest can tell of its machine: the bus that it boots from, and its firmware."""

from __future__ import annotations

from migration.errors import FindingsRemain, InvalidInput
from migration.image import Image
from migration.target import Target
from migration.verdict import Forecast, Outcome, Verdict
from private_cloud.machine import Firmware
from private_cloud.platforms import Platform
from private_cloud.virtual_machine import MOST_DISKS, MOST_DISKS_OTHERWISE

_BOOTS = (Outcome.BOOTS, Outcome.DELAYED)


def choose_bus(
    platform: Platform,
    verdict: Verdict | None,
    *,
    disks: int,
    wanted: Target | None = None,
    force: bool = False,
    unknown: str = "",
) -> tuple[Target, tuple[str, ...]]:
    """Return the bus to hang the disks on, and what to note about it.

    That is `wanted`, or the first of the platform's that the guest is foretold to boot from. One that it does not, or
    that nothing is known about, is refused with the reason unless `force`. `verdict` is None where nobody could look,
    and `unknown` says why. Raises `InvalidInput` for a bus that the platform has not, `FindingsRemain`.
    """
    if wanted is not None:
        if wanted not in platform.buses:
            raise InvalidInput(
                f"{platform} has no disks on {wanted}", f"--target, for {platform}: {', '.join(platform.buses)}"
            )
        return wanted, _weigh(wanted, verdict, unknown, force=force)
    fitting = [bus for bus in platform.buses if disks <= MOST_DISKS.get(bus, MOST_DISKS_OTHERWISE)]
    if not fitting:
        raise InvalidInput(f"{platform} takes {MOST_DISKS_OTHERWISE} disks, and there are {disks}", "leave some out")
    for outcome in _BOOTS:
        for bus in fitting:
            forecast = find_forecast(verdict, bus)
            if forecast is not None and forecast.outcome is outcome:
                return bus, _weigh(bus, verdict, unknown, force=force)
    if force:
        return fitting[0], _weigh(fitting[0], verdict, unknown, force=True)
    reasons = "\n".join(f"  {bus}: {_reason(bus, verdict, unknown)}" for bus in fitting)
    raise FindingsRemain(
        f"there is nothing to hang the disks on for {platform} that this guest is foretold to boot from:\n{reasons}",
        "`ferry check-fstab … --fix` shows a repair; --force defines the machine all the same",
    )


def find_forecast(verdict: Verdict | None, bus: Target) -> Forecast | None:
    """Return what the check foretells for `bus`, None where it was not asked."""
    forecasts = verdict.forecasts if verdict is not None else ()
    return next((forecast for forecast in forecasts if forecast.target is bus), None)


def note_on_firmware(found: Firmware, image: Image | None) -> tuple[str, ...]:
    """Return a warning if the cloud says of the image that it starts by another firmware than its disk does."""
    # "UEFI-Preferred" images start by both, and what the disk shows is right whichever that is.
    if image is None or image.boot_mode.upper() not in {"BIOS", "UEFI"} or image.boot_mode.lower() == found:
        return ()
    disk, cloud = found.upper(), image.boot_mode.upper()
    note = f"the cloud calls this a {cloud} image, but its system disk is made for {disk}, and the disk counts"
    return (f"{note}: if the machine does not start, give it {cloud}",)


def _weigh(bus: Target, verdict: Verdict | None, unknown: str, *, force: bool) -> tuple[str, ...]:
    """Return what to note about `bus`. Raises `FindingsRemain` for one that does not boot, unless `force`."""
    forecast = find_forecast(verdict, bus)
    if forecast is None or forecast.outcome not in _BOOTS:
        reason = _reason(bus, verdict, unknown)
        if not force:
            raise FindingsRemain(
                f"on {bus} this guest is not foretold to boot: {reason}",
                "choose another --target, repair it (`ferry check-fstab … --fix`), or say --force",
            )
        return (f"defined by --force: on {bus} this guest is not foretold to boot: {reason}",)
    if forecast.outcome is Outcome.DELAYED:
        return (f"the boot is delayed: {_reason(bus, verdict, unknown)}",)
    return ()


def _reason(bus: Target, verdict: Verdict | None, unknown: str) -> str:
    forecast = find_forecast(verdict, bus)
    if forecast is None:
        return f"{Outcome.UNKNOWN}: {unknown or 'nobody looked into it'}"
    lines = (line for line in forecast.lines if line.outcome is forecast.outcome)
    return f"{forecast.outcome}: " + "; ".join(f"{line.mountpoint}: {line.reason}" for line in lines)
