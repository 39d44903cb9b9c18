"""The real SDKs, pointed at an emulated cloud, for the emulator's own tests."""

from __future__ import annotations

import importlib
import json
import time
from typing import Any

import oss2
import requests
from aliyunsdkcore.client import AcsClient

from emulator.server import EmulatedCloud


def ecs_client(cloud: EmulatedCloud, **changes: Any) -> AcsClient:
    """Return a client that neither retries nor uses a proxy; `changes` are arguments of AcsClient."""
    arguments = {
        "ak": cloud.access_key_id, "secret": cloud.access_key_secret, "region_id": cloud.region_id,
        "auto_retry": False, "proxy": {"http": None, "https": None}, **changes,
    }  # fmt: skip
    client = AcsClient(**arguments)
    client.add_endpoint(arguments["region_id"], "Ecs", cloud.ecs_endpoint)
    return client


def call_ecs(cloud: EmulatedCloud, action: str, *, client: AcsClient | None = None, **params: Any) -> dict[str, Any]:
    """Call an action with the SDK's own request class and return the JSON answer."""
    module = importlib.import_module(f"aliyunsdkecs.request.v20140526.{action}Request")
    request = getattr(module, f"{action}Request")()
    for name, value in params.items():
        getattr(request, f"set_{name}")(value)
    return send_ecs(client or ecs_client(cloud), request)


def send_ecs(client: AcsClient, request: Any) -> dict[str, Any]:
    """Send a request and return the JSON answer, leaving no connection open."""
    try:
        answer: dict[str, Any] = json.loads(client.do_action_with_exception(request))
    finally:
        # The SDK leaves this to `__del__`, which the garbage collector may call after the sockets' own: a warning.
        client.session.close()
    return answer


def follow(cloud: EmulatedCloud, task_id: str) -> dict[str, Any]:
    """Look at a task until it runs no more, and return the last answer."""
    while True:
        answer = call_ecs(cloud, "DescribeTaskAttribute", TaskId=task_id)
        if answer["TaskStatus"] not in {"Waiting", "Processing"}:
            return answer
        time.sleep(0.01)


def oss_bucket(cloud: EmulatedCloud, name: str, auth: Any = None, **changes: Any) -> oss2.Bucket:
    """Return oss2's handle of a bucket, signing with V4 unless `auth` says otherwise."""
    auth = auth or oss2.AuthV4(cloud.access_key_id, cloud.access_key_secret)
    session = oss2.Session()
    session.session.trust_env = False  # no proxy between us
    url = f"http://{cloud.oss_endpoint}"
    return oss2.Bucket(auth, url, name, session=session, **{"region": cloud.region_id, **changes})


def fetch(url: str, **headers: str) -> requests.Response:
    """GET a URL as it is, without a signature of ours and past any proxy."""
    with requests.Session() as session:
        session.trust_env = False
        return session.get(url, headers=headers, timeout=10)
