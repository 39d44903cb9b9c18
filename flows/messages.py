"""Makes a run's log readable: a failure that the operator can act on is a message, not a traceback."""

from __future__ import annotations

import logging
import warnings

from migration.errors import MigrationError

STAGE_LOGGERS = ("image_export", "image_download", "fstab_check", "converters", "private_cloud", "migration", "flows")


class _MessageOnly(logging.Filter):
    """Replaces the traceback of a `MigrationError` by its text; bugs keep theirs."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, MigrationError):
            record.msg, record.args = str(error), ()
            record.exc_info, record.exc_text = None, None
        return True


def set_up_logging() -> None:
    """Let the stages' INFO lines reach the run, and failures be short. Safe to call again."""
    for name in STAGE_LOGGERS:
        logging.getLogger(name).setLevel(logging.INFO)
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logger = logging.getLogger(name)
        if not any(isinstance(known, _MessageOnly) for known in logger.filters):
            logger.addFilter(_MessageOnly())
    # oss2 and the ECS SDK carry strings that Python 3.12 and later warn about on first import.
    warnings.filterwarnings("ignore", category=SyntaxWarning, module=r"(oss2|aliyunsdk\w*)(\..*)?")
