"""The way to OSS: oss2 over sockets, its failures in our words, and nothing secret in them."""

from __future__ import annotations

import logging
import traceback

import oss2
import pytest
import requests

from emulator.server import EmulatedCloud, Variants
from migration.cloud import Cloud
from migration.credentials import Credentials
from migration.errors import CloudUnavailable, InvalidInput, MigrationError, SourceChanged
from migration.oss import OssRefused, error_from_oss, open_bucket, translated
from tests.conftest import BUCKET, FAR_BUCKET

KEYS = Credentials(access_key_id="LTAI5tNobody", access_key_secret="nobodys-secret", security_token="nobodys-token")


def oss_error(status: int, code: str = "", message: str = "", **details: str) -> oss2.exceptions.OssError:
    return oss2.exceptions.ServerError(
        status, {"x-oss-request-id": "R-1"}, b"", {"Code": code, "Message": message, **details}
    )


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        pytest.param(oss_error(403, "AccessDenied"), OssRefused, "oss:GetObject", id="denied"),
        pytest.param(
            oss_error(403, "AccessDenied", Endpoint="oss-cn-beijing.aliyuncs.com"), OssRefused,
            "answers at oss-cn-beijing.aliyuncs.com", id="another-region",
        ),
        pytest.param(oss_error(404, "NoSuchBucket"), OssRefused, "bucket's name", id="no-bucket"),
        pytest.param(oss_error(404), OssRefused, "see the code", id="no-code"),
        pytest.param(oss_error(403, "InvalidObjectState"), OssRefused, "restore", id="archived"),
        pytest.param(oss_error(412, "PreconditionFailed"), SourceChanged, "replaced", id="changed"),
        pytest.param(oss_error(503, "ServiceUnavailable"), CloudUnavailable, "try again", id="unavailable"),
        pytest.param(oss_error(429, "TooMany"), CloudUnavailable, "try again", id="too-many"),
        pytest.param(oss_error(400, "RequestTimeout"), CloudUnavailable, "try again", id="slow-client"),
        pytest.param(oss2.exceptions.RequestError(OSError("broken")), CloudUnavailable, "broken", id="transport"),
        pytest.param(oss2.exceptions.ClientError("bad name"), InvalidInput, "bad name", id="argument"),
    ],
)  # fmt: skip
def test_error_of_oss_becomes_ours(error: oss2.exceptions.OssError, kind: type[MigrationError], words: str) -> None:
    ours = error_from_oss("bucket b", error)
    assert type(ours) is kind
    assert ours.message.startswith("bucket b")
    assert words in str(ours)


def test_refusal_keeps_code_request_id_and_endpoint() -> None:
    ours = error_from_oss("b", oss_error(403, "AccessDenied", "not yours", Endpoint="oss-x.aliyuncs.com"))
    assert isinstance(ours, OssRefused)
    assert (ours.code, ours.endpoint) == ("AccessDenied", "oss-x.aliyuncs.com")
    assert "R-1" in ours.message
    assert "not yours" in ours.message


@pytest.mark.parametrize(
    "raised",
    [
        pytest.param(
            oss_error(403, "SignatureDoesNotMatch", "wrong", CanonicalRequest="token nobodys-token"), id="oss"
        ),
        pytest.param(requests.ConnectionError("GET https://b/k?Signature=nobodys-token broke"), id="signed-url"),
        pytest.param(
            oss_error(500, "InternalError", "\x1b[2Jnobody reads https://b/k?token=nobodys-token"), id="message"
        ),
    ],
)
def test_translated_error_shows_nothing_secret(raised: Exception) -> None:
    with pytest.raises(MigrationError) as caught, translated("object k"):
        raise raised
    shown = "".join(traceback.format_exception(caught.value))
    assert "nobodys-token" not in shown
    assert "\x1b" not in shown


def test_translated_leaves_a_bug_alone() -> None:
    with pytest.raises(RuntimeError, match="bug"), translated("object k"):
        raise RuntimeError("bug")


def test_bucket_is_opened_and_read(emulated_cloud: EmulatedCloud) -> None:
    bucket = open_bucket(emulated_cloud.cloud, emulated_cloud.credentials, BUCKET)
    assert bucket.get_bucket_info().location == "oss-cn-hangzhou"


def test_bucket_uses_the_token_of_the_moment(emulated_cloud: EmulatedCloud) -> None:
    emulated_cloud.variants = Variants(security_token="one")
    bucket = open_bucket(emulated_cloud.cloud, emulated_cloud.credentials, BUCKET)
    bucket.get_bucket_info()
    emulated_cloud.variants = Variants(security_token="two")
    bucket.get_bucket_info()


def test_bucket_on_loopback_is_reached_past_a_proxy(
    emulated_cloud: EmulatedCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    open_bucket(emulated_cloud.cloud, emulated_cloud.credentials, BUCKET).get_bucket_info()


@pytest.mark.parametrize("name", ["missing-bucket", FAR_BUCKET])
def test_bucket_that_is_not_here_is_refused(emulated_cloud: EmulatedCloud, name: str) -> None:
    bucket = open_bucket(emulated_cloud.cloud, emulated_cloud.credentials, name)
    with pytest.raises(OssRefused), translated(name):
        bucket.get_bucket_info()


def test_bucket_of_an_impossible_name_is_invalid_input(emulated_cloud: EmulatedCloud) -> None:
    with pytest.raises(InvalidInput):
        open_bucket(emulated_cloud.cloud, emulated_cloud.credentials, "Not_A_Bucket")


def test_nobody_answering_is_a_transient_failure() -> None:
    bucket = open_bucket(Cloud(region_id="cn-hangzhou", oss_endpoint="127.0.0.1:1"), lambda: KEYS, "exports")
    with pytest.raises(CloudUnavailable), translated("exports"):
        bucket.get_bucket_info()


def test_wrong_keys_show_nothing_secret(
    emulated_cloud: EmulatedCloud, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    bucket = open_bucket(emulated_cloud.cloud, lambda: KEYS, BUCKET)
    with pytest.raises(MigrationError) as caught, translated("exports"):
        bucket.get_bucket_info()
    captured = capfd.readouterr()
    shown = "".join(traceback.format_exception(caught.value)) + caplog.text + captured.out + captured.err
    assert KEYS.access_key_secret not in shown
    assert KEYS.security_token not in shown
