"""Reaches an OpenStack image service through openstacksdk, and turns what it answers into nouns and errors of ours.

The SDK is an extra. It knows the ways to credentials and endpoints; the requests are those of the Image API v2, sent
through its adapter, because its own upload helpers take the whole file for a request that is made once.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from typing import Any, TypeVar

from migration.errors import CloudRefused, InvalidInput, ToolMissing
from migration.progress import Stop, check_stop
from migration.proxy import check_proxies
from migration.verdict import printable
from private_cloud.glance_errors import CONFIGURE, our_errors, reason_of, redact, refusal, secrets_of
from private_cloud.glance_properties import PROVENANCE, GlanceImage
from private_cloud.upload_body import UploadBody

T = TypeVar("T")

SHORT = 60.0  # seconds for a call that carries no image
CLEAN_UP = 10.0  # and for one that nobody can stop
# To connect, and for each chunk to leave; then for Glance to say that it has stored it, which a slow store does late.
LONG = (120.0, 3600.0)
_FAREWELL = 3.0  # seconds that an upload which was stopped may take to hang up


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredImage:
    """An image as Glance tells it. `properties` are all that are not Glance's own; `size` is None before an upload."""

    id: str
    name: str
    status: str  # queued, saving, active, deactivated, …
    size: int | None
    disk_format: str
    container_format: str
    min_disk: int
    min_ram: int
    hash_algo: str
    hash_value: str
    checksum: str
    properties: dict[str, str] = field(default_factory=dict)

    @property
    def is_ours(self) -> bool:
        return any(key.startswith(PROVENANCE) for key in self.properties)


@dataclass(frozen=True, slots=True)
class ImageService:
    """One Glance. Its methods raise `CloudUnavailable` for what time may mend, `CloudRefused` and others for the rest.

    `stop`, where a method takes one, ends the waiting within a second, even for a server that does not answer.
    """

    adapter: Any  # openstack.image.v2._proxy.Proxy
    secrets: tuple[str, ...] = ()

    def find(self, name: str, stop: Stop | None = None, *, timeout: float = SHORT) -> list[StoredImage]:
        """Return all images of this name that we may see."""
        found: list[StoredImage] = []
        url, params = "/images", {"name": name}
        while url:
            answer = self._json("get", url, stop=stop, params=params, timeout=timeout)
            found += (_stored(image) for image in answer.get("images", ()))
            url, params = _next_page(answer), {}
        return [image for image in found if image.name == name]

    def get(self, image_id: str, stop: Stop | None = None) -> StoredImage | None:
        """Return one image, None if it is gone."""
        answer = self._request("get", f"/images/{image_id}", stop=stop, good=(404,))
        return None if answer.status_code == 404 else _stored(answer.json())

    def create(self, image: GlanceImage, name: str, stop: Stop | None = None) -> StoredImage:
        """Register `image`, called `name` for now, without its bytes."""
        body = {
            **image.properties, "name": name, "disk_format": image.disk_format, "visibility": image.visibility,
            "container_format": image.container_format, "min_disk": image.min_disk, "min_ram": image.min_ram,
        }  # fmt: skip
        return _stored(self._json("post", "/images", stop=stop, json=body))

    def upload(self, image_id: str, body: UploadBody, stop: Stop | None = None) -> None:
        """Send the bytes of an image, all of them, and wait until Glance says that it has them."""
        # The length in a header of its own lets a store set room aside, and find out early that it has none.
        headers = {
            "Content-Type": "application/octet-stream",
            "Accept": "application/json",
            "X-OpenStack-Image-Size": str(len(body)),
        }
        url = f"/images/{image_id}/file"
        self._request("put", url, stop=stop, data=body, headers=headers, timeout=LONG)

    def change(self, image_id: str, changes: list[dict[str, Any]], stop: Stop | None = None) -> StoredImage:
        """Apply JSON Patch operations."""
        headers = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
        return _stored(self._json("patch", f"/images/{image_id}", stop=stop, json=changes, headers=headers))

    def delete(self, image_id: str) -> None:
        """Remove an image; one that is gone already is as well. Not stopped by anything: it is how we clean up."""
        self._request("delete", f"/images/{image_id}", good=(404,), timeout=CLEAN_UP)

    def _json(self, verb: str, url: str, **words: Any) -> dict[str, Any]:
        answer = self._request(verb, url, **words)
        try:
            told = answer.json()
        except ValueError:
            told = None
        if not isinstance(told, dict):
            raise CloudRefused(
                f"{verb.upper()} {url}: the answer is not that of an image service", "check image_endpoint_override"
            )
        return told

    def _request(
        self, verb: str, url: str, *, stop: Stop | None = None, good: tuple[int, ...] = (), **words: Any
    ) -> Any:
        words.setdefault("timeout", SHORT)
        # The SDK would send an image five times more without a word, and into what the first time has left.
        words |= {"connect_retries": 0, "status_code_retries": 0}
        with our_errors(self.secrets):
            answer = _stoppable(lambda: getattr(self.adapter, verb)(url, **words), stop)
        if answer.status_code >= 400 and answer.status_code not in good:
            raise refusal(answer.status_code, redact(reason_of(answer), self.secrets))
        return answer


def open_image_service(cloud: str | None) -> ImageService:
    """Return the image service of `cloud`, an entry of clouds.yaml; None: what the OS_* environment says.

    Raises `ToolMissing` without openstacksdk, `InvalidInput` for a configuration that cannot be meant, and
    `CloudRefused` or `CloudUnavailable` where Keystone or the catalog do not lead to a Glance.
    """
    try:
        import openstack  # noqa: PLC0415  # an extra, and a second to import
    except ImportError as error:
        raise ToolMissing(
            "openstacksdk is not installed: it is what speaks to OpenStack", "pip install 'ferry-migration[openstack]'"
        ) from error
    check_proxies()
    for noisy in ("keystoneauth", "openstack", "stevedore"):  # they tell requests and configurations under --verbose
        logging.getLogger(noisy).setLevel(logging.WARNING)
    with our_errors(()):
        try:
            connection = openstack.connect(cloud=cloud)
        except (openstack.exceptions.ConfigException, OSError) as error:
            raise InvalidInput(f"the cloud's configuration: {printable(str(error))}", CONFIGURE) from None
    secrets = secrets_of(connection.config.auth)
    with our_errors(secrets):
        # The first look for the endpoint, and so for a token: what is wrong with either is said at once.
        adapter = _stoppable(lambda: connection.image, None)
        _stoppable(adapter.get_endpoint, None)
    return ImageService(adapter, secrets)


def _stoppable(work: Callable[[], T], stop: Stop | None) -> T:
    """Return `work()`, done in a thread that is left to itself where it does not end soon after a stop."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001  # raised where it is waited for
            future.set_exception(error)

    threading.Thread(target=run, name="ferry-glance", daemon=True).start()
    while wait([future], timeout=0.2).not_done:
        if stop is not None and stop.is_set():
            wait([future], timeout=_FAREWELL)
            if not future.done():
                check_stop(stop)
    return future.result()


def _next_page(answer: Mapping[str, Any]) -> str:
    """Return the path of the next page, "" for none. Glance tells it with a version, which the adapter adds."""
    url = str(answer.get("next") or "")
    return url[url.find("/images") :] if "/images" in url else ""


_OWN = frozenset({
    "id", "name", "status", "size", "disk_format", "container_format", "min_disk", "min_ram", "os_hash_algo",
    "os_hash_value", "checksum", "tags", "self", "file", "schema", "protected", "visibility", "owner", "created_at",
    "updated_at", "virtual_size", "os_hidden", "locations", "direct_url", "stores",
})  # fmt: skip


def _stored(told: Mapping[str, Any]) -> StoredImage:
    size = told.get("size")
    return StoredImage(
        id=str(told.get("id") or ""), name=str(told.get("name") or ""), status=str(told.get("status") or ""),
        size=size if isinstance(size, int) else None,
        disk_format=str(told.get("disk_format") or ""), container_format=str(told.get("container_format") or ""),
        min_disk=int(told.get("min_disk") or 0), min_ram=int(told.get("min_ram") or 0),
        hash_algo=str(told.get("os_hash_algo") or ""), hash_value=str(told.get("os_hash_value") or ""),
        checksum=str(told.get("checksum") or ""),
        properties={key: str(value) for key, value in told.items() if key not in _OWN and value is not None},
    )  # fmt: skip
