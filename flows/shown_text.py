"""Shows a text beside a run, as a Markdown artifact; tried again while the server is away, and no reason to fail."""

from __future__ import annotations

import logging
import time

from prefect.artifacts import create_markdown_artifact

log = logging.getLogger(__name__)

# Seconds before each further try; a server that is restarted is back after some ten. A client of Prefect's that was
# connected before asks again by itself, for minutes: then one try is enough. One that is made anew does not.
PAUSES = (2.0, 4.0, 8.0, 16.0, 30.0)
PATIENCE = sum(PAUSES)


def show_text(text: str, *, key: str, description: str, kept: str) -> None:
    """Show Markdown as the artifact `key` of the run; `kept` names where it can be read in any case."""
    began = time.monotonic()
    for pause in (*PAUSES, None):
        try:
            create_markdown_artifact(text, key=key, description=description)
        except Exception as error:  # noqa: BLE001, PERF203  # whatever Prefect's client raises
            if pause is None or time.monotonic() - began > PATIENCE:
                log.warning("%s cannot be shown beside the run (%s): it is %s", key, type(error).__name__, kept)
                return
            time.sleep(pause)
        else:
            return
