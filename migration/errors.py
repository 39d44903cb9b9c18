"""The family of failures an operator can act on, each with a next step and a stable exit code.

Anything that is not one of these is a bug and keeps its traceback.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence


class MigrationError(Exception):
    """A failure shown as a message with a remedy, never as a traceback.

    `transient` is true for what time alone may mend (throttling, a reset connection): only such
    failures are retried. `exit_code` is what `ferry` exits with; the table is in docs/exit-codes.md.
    Every argument goes to `Exception.__init__`, so that an instance survives pickling.
    """

    exit_code = 2
    transient = False

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message, remedy)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}\n  ({self.remedy})" if self.remedy else self.message


class InvalidInput(MigrationError):
    """What the operator asked for cannot be meant: a bad prefix, a missing file, an http endpoint."""

    exit_code = 2


class PreflightRefused(MigrationError):
    """The image, bucket or machine breaks at least one rule; nothing was exported and nothing was billed."""

    exit_code = 3


class CloudRefused(MigrationError):
    """The cloud answered with an error that a retry does not mend."""

    exit_code = 4


class CloudUnavailable(CloudRefused):
    """The cloud could not be reached, or asked us to come back later; trying again is right."""

    transient = True


class CorruptData(MigrationError):
    """Bytes are not what they were promised to be: a CRC-64 differs, an archive ends early, an image is unequal."""

    exit_code = 5


class SourceChanged(CorruptData):
    """The object in the bucket was replaced while it was being read."""


class NoSpace(MigrationError):
    """A file system is, or would become, full. What is finished stays finished."""

    exit_code = 6


class WorkspaceInUse(MigrationError):
    """Another process owns this workspace."""

    exit_code = 7


class WorkspaceMismatch(MigrationError):
    """The workspace belongs to another migration, or its journal cannot be read."""

    exit_code = 7


class ToolMissing(MigrationError):
    """A program or library we drive is not installed on this machine."""

    exit_code = 8


class CommandFailed(MigrationError):
    """A program we drive exited with an unexpected status."""

    exit_code = 8

    def __init__(self, argv: Sequence[str], returncode: int, stderr: str, remedy: str = "") -> None:
        tail = "\n".join(stderr.splitlines()[-10:]) or "(nothing on stderr)"
        super().__init__(f"{shlex.join(argv)}: exit status {returncode}\n{tail}", remedy)
        self.args = (list(argv), returncode, stderr, remedy)  # what pickle calls __init__ with
        self.argv, self.returncode, self.stderr = list(argv), returncode, stderr


class TookTooLong(CommandFailed):
    """A program we drive did not end in the time it was given, and was ended by us."""


class GuestError(MigrationError):
    """We could not look inside the guest: no appliance, no root file system, an unreadable disk."""

    exit_code = 2


class NoLinuxRoot(GuestError):
    """The disks were read, and no Linux starts from them: Windows, a blank disk, an encrypted one."""


class FindingsRemain(MigrationError):
    """The guest was examined and is not fit to boot as it is; raised where findings must stop the run."""

    exit_code = 1


class Interrupted(MigrationError):
    """Someone asked us to stop; the workspace can be resumed."""

    exit_code = 130
