"""Turns what openstacksdk and Glance say into errors of ours, with the credentials taken out of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from migration.errors import CloudRefused, CloudUnavailable, InvalidInput, MigrationError
from migration.verdict import printable

CONFIGURE = "name an entry of clouds.yaml with --cloud, or set OS_CLOUD or OS_AUTH_URL and the other OS_* variables"
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_SECRETS = re.compile(r"password|secret|token|passcode|code|key", re.IGNORECASE)


def redact(text: str, secrets: tuple[str, ...]) -> str:
    """Return `text` for people, on one line, without any of `secrets`."""
    for secret in secrets:
        text = text.replace(secret, "***")
    return printable(re.sub(r"(?<=://)[^/@\s]+@", "***@", " ".join(text.split())))


def secrets_of(auth: object) -> tuple[str, ...]:
    entries = auth.items() if isinstance(auth, Mapping) else ()
    return tuple(
        value for key, value in entries if isinstance(value, str) and len(value) > 2 and _SECRETS.search(str(key))
    )


@contextmanager
def our_errors(secrets: tuple[str, ...]) -> Iterator[None]:
    """Turn what keystoneauth and the SDK raise into errors of ours. Theirs are not chained: they may show anything."""
    import keystoneauth1.exceptions as keystone  # noqa: PLC0415
    from openstack.exceptions import SDKException  # noqa: PLC0415

    try:
        yield
    except (keystone.ClientException, SDKException) as error:
        raise _translate(error, keystone, redact(str(error), secrets)) from None


def _translate(error: Exception, keystone: Any, said: str) -> MigrationError:
    if isinstance(error, keystone.SSLError):
        return CloudRefused(f"the cloud's certificate: {said}", "give its authority with `cacert:` in clouds.yaml")
    if isinstance(error, (keystone.ConnectFailure, keystone.ConnectTimeout, keystone.UnknownConnectionError)):
        return CloudUnavailable(f"the connection failed: {said}", "check network and endpoint, then run again")
    if isinstance(error, keystone.HttpError) and error.http_status in _TRANSIENT:
        return CloudUnavailable(f"Keystone answers {error.http_status}: {said}", "run again a little later")
    if isinstance(error, (keystone.Unauthorized, keystone.AuthorizationFailure)):
        return CloudRefused(f"Keystone does not accept the credentials: {said}", CONFIGURE)
    if isinstance(error, (keystone.MissingAuthPlugin, keystone.AuthPluginException)):
        return InvalidInput(f"the credentials are not complete: {said}", CONFIGURE)
    return CloudRefused(f"OpenStack: {said}", CONFIGURE)


_REMEDIES = {
    400: "what Glance says is the reason; run again when it is mended",
    401: "the credentials were not accepted, or ended during the upload: check them, then run again",
    403: "ask for the right to create and upload images, or for what the message names",
    404: "somebody removed the image meanwhile, or the endpoint is not that of Glance v2: run again",
    409: "somebody else works on this image: run again when that has ended",
    410: "somebody removed the image meanwhile: run again",
    413: "raise the quota, image_size_cap or the room in its store, or convert to compressed qcow2, and run again",
    415: "the file is not of the format that its name says, or Glance thinks it unsafe: convert the disk again",
}


def refusal(status: int, said: str) -> MigrationError:
    message = f"Glance answers {status}: {said}"
    if status in _TRANSIENT:
        return CloudUnavailable(message, "run again a little later; if it stays so, look into Glance's log")
    remedy = _REMEDIES.get(status, "what Glance says is the reason")
    return CloudRefused(message, remedy)


def reason_of(answer: Any) -> str:
    """Return the reason in an answer: the message in Glance's JSON, or the words of a page without its markup."""
    try:
        told = answer.json()
        text = str(told["message"]) if isinstance(told, dict) and "message" in told else str(answer.text)
    except ValueError:
        text = re.sub(r"<(head|style|script)\b.*?</\1>", " ", str(answer.text)[:20_000], flags=re.DOTALL)
    words = " ".join(re.sub(r"<[^>]*>", " ", text).split())[:400]
    # What webob puts before each reason of a 415, and is none.
    words = words.removeprefix("The request media type application/octet-stream is not supported by this server. ")
    return words or str(answer.reason or "no reason given")
