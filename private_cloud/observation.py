"""Takes what a guest's console and our witness in it say together, as one boot; it is told the time, too."""

from __future__ import annotations

from migration.verdict import printable
from private_cloud.account import Account
from private_cloud.console import Console, Outcome
from private_cloud.witness import Witness

# Without a witness: a line with `nofail` does not keep the login prompt back, and systemd may say what it still waits
# for after two to five seconds of silence.
SETTLING = 8.0  # seconds

UNSEEN = "what is behind nofail was not seen"


class Observation:
    """What one boot has shown so far. `witness` is None where none was planted, `why_unwitnessed` says why not."""

    def __init__(self, console: Console, witness: Witness | None, why_unwitnessed: str = "") -> None:
        self.console = console
        self._witness = witness
        self._why_unwitnessed = why_unwitnessed
        self._last_news = 0.0  # by the clock of `hear`
        self._now = 0.0

    def hear(self, data: bytes, now: float) -> None:
        """Take in what the serial port said at `now`, in seconds of any steady clock; maybe nothing."""
        was_up, self._now = self.console.is_up, now
        others = self._witness.hear(data) if self._witness else data
        if others:
            self.console.hear(others)
        if not was_up or self.console.waiting_for:
            self._last_news = now

    @property
    def account(self) -> Account | None:
        """What the guest has mounted in the end, as it says itself; None as long as it has not."""
        return self._witness.account if self._witness else None

    @property
    def is_heard(self) -> bool:
        """Whether the witness has said anything."""
        return self._witness is not None and self._witness.has_begun

    @property
    def is_up(self) -> bool:
        """Whether the console has come to a login prompt, or systemd says it has done all it can."""
        return self.console.is_up or (self.account is not None and self.account.says_up)

    @property
    def is_decided(self) -> bool:
        """Whether nothing that may follow changes the outcome."""
        if self.console.has_ended:
            return True
        if self.account is not None:
            return self.is_up or self.account.is_emergency
        if self.is_heard:
            return False
        return self.console.is_decided or (self.console.is_up and self._now - self._last_news > SETTLING)

    @property
    def outcome(self) -> Outcome:
        """The outcome, should nothing follow."""
        if self.console.has_ended or self.account is None:
            return self.console.outcome
        if self.account.is_emergency:
            return Outcome.EMERGENCY_MODE
        if not self.is_up:
            return Outcome.NO_ANSWER
        return Outcome.MOUNT_FAILED if self.failed else Outcome.EVERYTHING_MOUNTED

    @property
    def mounted(self) -> tuple[str, ...]:
        """Mount points, and `swap on …`: what the guest's kernel says if it did, else what the console named."""
        return self.console.mounted if self.account is None else self.account.mounted

    @property
    def failed(self) -> tuple[str, ...]:
        """The same for what should have been mounted and is not, or is `(read-only)` where fstab does not say so."""
        account = self.account
        if account is None:
            return self.console.failed
        missing = [line.name for line in account.missing]
        read_only = [f"{line.name} (read-only)" for line in account.read_only]
        expected = [point for point in self.console.expected if not account.holds(point)]
        # Beside the lines of fstab there are units. Swap of theirs is not told apart from fstab's by its device, and
        # a name that systemd has cut short is that of a line which is missing anyway, if one is.
        told = [
            point
            for point in self.console.failed
            if not account.holds(point) and not point.startswith("swap on ") and (point.startswith("/") or not missing)
        ]
        return tuple(dict.fromkeys([*missing, *read_only, *expected, *told]))

    @property
    def evidence(self) -> str:
        """The line that decided."""
        if self.account is None or self.console.has_ended:
            return self.console.evidence
        if self.account.missing:
            return printable(f"not mounted in the end: {self.account.missing[0].text}")
        if self.account.read_only:
            return printable(f"mounted read-only in the end: {self.account.read_only[0].text}")
        return self.console.evidence or f"systemd calls the guest {printable(self.account.state)}"

    @property
    def note(self) -> str:
        """What was not seen, "" if nothing."""
        if self.console.has_ended or self.account is not None:
            return ""
        if self.is_heard:
            return "the guest did not come to say what is mounted"
        if not self.console.is_up:
            return ""
        return f"{UNSEEN}: {self._why_unwitnessed or 'the witness in the guest did not speak'}"
