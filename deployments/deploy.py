"""Tells a Prefect server what it needs to know of Ferry: the work pool, the deployments, the automations, the limits.

Run again, it brings all of them up to what the files beside it say. The server is the one that PREFECT_API_URL names.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from flows.server_start import answers_within

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

PROJECT = Path(__file__).resolve().parent.parent
PREFECT = Path(sys.executable).with_name("prefect")
POOL = "ferry"
AUTOMATIONS = PROJECT / "deployments" / "automations.yaml"


def main(argv: Sequence[str] | None = None) -> None:
    """Bring the server up to date and say so."""
    parser = argparse.ArgumentParser(prog="python -m deployments.deploy", description=__doc__)
    parser.add_argument(
        "--silence", type=int, metavar="SECONDS",
        help="after which a run of which nothing is heard has crashed (default: as in automations.yaml)",
    )  # fmt: skip
    parser.add_argument(
        "--automations", type=Path, action="append", default=[], metavar="FILE", help="more of them, of your own"
    )
    parser.add_argument(
        "--wait", type=int, default=0, metavar="SECONDS", help="for a server that is still starting (default: not)"
    )
    arguments = parser.parse_args(argv)
    url = os.environ.get("PREFECT_API_URL")
    if not url:
        parser.error("which server? Name it: PREFECT_API_URL=http://127.0.0.1:4200/api")
    if arguments.wait and not answers_within(url, arguments.wait):
        sys.exit(f"the Prefect server did not answer at {url} within {arguments.wait} s")
    from deployments.limits import create_limits  # noqa: PLC0415  # it imports Prefect, which reads the variable

    deploy(os.environ)
    known = read_automations(AUTOMATIONS)
    if arguments.silence is not None:
        known = with_silence(known, arguments.silence)
    for file in arguments.automations:
        known += read_automations(file)
    save_automations(known)
    create_limits()
    sys.stderr.write(f"deployed to {url}\n")


def deploy(environment: Mapping[str, str]) -> None:
    """Create the work pool and the deployments, or bring them up to date. Raises `SystemExit`."""
    # Where the pool exists already, creating it again is refused, and the next command decides.
    subprocess.run(
        [PREFECT, "work-pool", "create", POOL, "--type", "process"],
        cwd=PROJECT, env=dict(environment), check=False, capture_output=True,
    )  # fmt: skip
    done = subprocess.run(
        [PREFECT, "--no-prompt", "deploy", "--all", "--prefect-file", "deployments/prefect.yaml"],
        cwd=PROJECT, env=dict(environment), check=False, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(
            "not deployed, Prefect says why above; where it wants a password: PREFECT_API_AUTH_STRING=USER:PASSWORD"
        )


def read_automations(file: Path) -> list[dict[str, Any]]:
    """Return the automations of a file, which has them as `prefect automation create --from-file` takes them."""
    document = yaml.safe_load(file.read_text(encoding="utf-8"))
    found = document["automations"]
    assert isinstance(found, list)  # noqa: S101  # an operator sees at once that the file is no such file
    return found


def with_silence(automations: Sequence[dict[str, Any]], seconds: int) -> list[dict[str, Any]]:
    """Return the automations, those that wait for what does not come with `seconds`, or as much more as they have."""
    shortest = min(one["trigger"]["within"] for one in automations)
    return [
        {**one, "trigger": {**one["trigger"], "within": one["trigger"]["within"] * seconds // shortest}}
        for one in automations
    ]


def save_automations(automations: Sequence[dict[str, Any]]) -> None:
    """Create the automations on the server, or replace those of the same names."""
    from prefect.client.orchestration import get_client  # noqa: PLC0415  # 3 s, which --help need not wait
    from prefect.events.schemas.automations import AutomationCore  # noqa: PLC0415

    with get_client(sync_client=True) as client:
        answer = client.request("POST", "/automations/filter", json={"limit": 200})
        answer.raise_for_status()
        known = {one["name"]: one["id"] for one in answer.json()}
        for automation in automations:
            actions = [_with_block_id(client, action) for action in automation["actions"]]
            body = AutomationCore.model_validate({**automation, "actions": actions}).model_dump(mode="json")
            if (found := known.get(body["name"])) is not None:
                del body["owner_resource"]  # fixed when it is created; the server refuses to be told again
                client.request("PUT", "/automations/{id}", json=body, path_params={"id": found}).raise_for_status()
            else:
                client.request("POST", "/automations/", json=body).raise_for_status()


def _with_block_id(client: SyncPrefectClient, action: dict[str, Any]) -> dict[str, Any]:
    """Return the action with the id of the block that it names as `block: type/name`, if it does."""
    import httpx  # noqa: PLC0415
    from prefect.exceptions import ObjectNotFound  # noqa: PLC0415

    if "block" not in action:
        return action
    slug, _, name = action["block"].partition("/")
    try:
        found = client.request(
            "GET", "/block_types/slug/{slug}/block_documents/name/{block_document_name}",
            path_params={"slug": slug, "block_document_name": name},
        )  # fmt: skip
        found.raise_for_status()
    except (ObjectNotFound, httpx.HTTPStatusError) as error:
        raise SystemExit(f"there is no block {action['block']}: make it in Prefect's UI first") from error
    rest = {key: value for key, value in action.items() if key != "block"}
    return {**rest, "block_document_id": found.json()["id"]}


if __name__ == "__main__":
    main()
