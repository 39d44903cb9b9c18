"""The emulated OSS, asked by oss2 over a socket."""

from __future__ import annotations

import time
from email.utils import formatdate
from typing import Any

import oss2
import pytest
import requests

from emulator.object_store import CRC64, add_bucket
from emulator.server import EmulatedCloud, Variants
from tests.conftest import BUCKET, FAR_BUCKET
from tests.emulator_clients import fetch, oss_bucket

KEY = "folder/with space/100%/中文.raw"
CONTENT = bytes(range(250)) * 4  # 1000 bytes: the size of the vendor's examples
WHOLE = None  # a 200 with the whole object: the range was ignored
STANDARD = {"x-oss-range-behavior": "standard"}


@pytest.fixture
def bucket(emulated_cloud: EmulatedCloud) -> oss2.Bucket:
    """Return a bucket with one object of 1000 bytes, `KEY`."""
    emulated_cloud.put_object(BUCKET, KEY, CONTENT)
    return oss_bucket(emulated_cloud, BUCKET)


def refusal(call: Any) -> oss2.exceptions.ServerError:
    with pytest.raises(oss2.exceptions.ServerError) as caught:
        call()
    return caught.value


# Signatures

AUTHS = pytest.mark.parametrize("auth", [oss2.Auth, oss2.AuthV4], ids=["v1", "v4"])


@AUTHS
def test_oss_accepts_signed_headers(emulated_cloud: EmulatedCloud, bucket: oss2.Bucket, auth: Any) -> None:
    bucket.auth = auth(emulated_cloud.access_key_id, emulated_cloud.access_key_secret)
    assert bucket.get_object(KEY, byte_range=(0, 9)).read() == CONTENT[:10]
    assert [found.key for found in oss2.ObjectIteratorV2(bucket, prefix="folder/")] == [KEY]
    assert bucket.get_bucket_info().location == "oss-cn-hangzhou"


@AUTHS
def test_oss_refuses_a_wrong_secret(emulated_cloud: EmulatedCloud, bucket: oss2.Bucket, auth: Any) -> None:
    bucket.auth = auth(emulated_cloud.access_key_id, "not-the-secret")
    error = refusal(lambda: bucket.get_object(KEY))
    assert (error.status, error.code, error.ec) == (403, "SignatureDoesNotMatch", "0002-00000040")
    assert error.details["StringToSign"]
    assert emulated_cloud.access_key_secret not in str(error)


@AUTHS
def test_oss_refuses_an_unknown_key(emulated_cloud: EmulatedCloud, bucket: oss2.Bucket, auth: Any) -> None:
    bucket.auth = auth("LTAI5tSomebodyElse", emulated_cloud.access_key_secret)
    assert refusal(lambda: bucket.get_object(KEY)).code == "InvalidAccessKeyId"


def test_oss_refuses_a_v4_signature_for_another_region(emulated_cloud: EmulatedCloud) -> None:
    bucket = oss_bucket(emulated_cloud, BUCKET, region="cn-shanghai")
    assert refusal(bucket.get_bucket_location).code == "InvalidArgument"


def test_oss_refuses_a_clock_that_is_off(
    emulated_cloud: EmulatedCloud, bucket: oss2.Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Patched: nobody sets this machine's clock for a test.
    monkeypatch.setattr(oss2.utils, "http_date", lambda: formatdate(time.time() - 1000, usegmt=True))
    bucket.auth = oss2.Auth(emulated_cloud.access_key_id, emulated_cloud.access_key_secret)
    assert refusal(lambda: bucket.get_object(KEY)).code == "RequestTimeTooSkewed"


def test_oss_refuses_anonymous_requests(bucket: oss2.Bucket) -> None:
    bucket.auth = oss2.AnonymousAuth()
    assert refusal(lambda: bucket.get_object(KEY)).code == "AccessDenied"


@AUTHS
@pytest.mark.parametrize("slash_safe", [False, True], ids=["%2F", "slash"])
def test_signed_url_opens_the_object_with_any_range(
    emulated_cloud: EmulatedCloud, bucket: oss2.Bucket, auth: Any, slash_safe: bool
) -> None:
    bucket.auth = auth(emulated_cloud.access_key_id, emulated_cloud.access_key_secret)
    url = bucket.sign_url("GET", KEY, 60, slash_safe=slash_safe)
    answer = fetch(url, Range="bytes=10-19")
    assert (answer.status_code, answer.content) == (206, CONTENT[10:20])


@AUTHS
@pytest.mark.parametrize("spoil", ["method", "key", "time"])
def test_signed_url_is_for_its_method_key_and_time_only(
    emulated_cloud: EmulatedCloud, bucket: oss2.Bucket, auth: Any, spoil: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulated_cloud.put_object(BUCKET, "other", b"secret")
    emulated_cloud.put_object(BUCKET, "one", b"open")
    bucket.auth = auth(emulated_cloud.access_key_id, emulated_cloud.access_key_secret)
    url = bucket.sign_url("HEAD" if spoil == "method" else "GET", "one", 60)
    if spoil == "key":
        url = url.replace("/one?", "/other?")
    if spoil == "time":
        later = time.time() + 3600
        monkeypatch.setattr("emulator.oss_signature.time.time", lambda: later)
    answer = fetch(url)
    assert answer.status_code == 403
    assert ("expired" in answer.text) == (spoil == "time")


def sts(cloud: EmulatedCloud, token: str, version: str) -> oss2.StsAuth:
    return oss2.StsAuth(cloud.access_key_id, cloud.access_key_secret, token, auth_version=version)


@pytest.mark.parametrize("version", ["v1", "v4"])
def test_oss_accepts_the_security_token(emulated_cloud: EmulatedCloud, bucket: oss2.Bucket, version: str) -> None:
    emulated_cloud.variants = Variants(security_token="the-token")
    bucket.auth = sts(emulated_cloud, "the-token", version)
    assert bucket.get_object(KEY).read() == CONTENT
    assert fetch(bucket.sign_url("GET", KEY, 60)).content == CONTENT


@pytest.mark.parametrize("version", ["v1", "v4"])
@pytest.mark.parametrize(
    ("token", "code"), [("another", "InvalidSecurityToken"), ("the-token", "SecurityTokenExpired")]
)
def test_oss_refuses_a_wrong_or_expired_security_token(
    emulated_cloud: EmulatedCloud, bucket: oss2.Bucket, version: str, token: str, code: str
) -> None:
    emulated_cloud.variants = Variants(security_token="the-token", security_token_expired=True)
    bucket.auth = sts(emulated_cloud, token, version)
    assert refusal(lambda: bucket.get_object(KEY)).code == code


# Buckets and listings


def test_bucket_tells_region_and_storage_class(emulated_cloud: EmulatedCloud) -> None:
    add_bucket(emulated_cloud.folder, "cold", storage_class="ColdArchive")
    info = oss_bucket(emulated_cloud, "cold").get_bucket_info()
    assert (info.name, info.location, info.storage_class) == ("cold", "oss-cn-hangzhou", "ColdArchive")
    assert info.extranet_endpoint == "oss-cn-hangzhou.aliyuncs.com"
    assert oss_bucket(emulated_cloud, "cold").get_bucket_location().location == "oss-cn-hangzhou"


@pytest.mark.parametrize("call", ["get_bucket_info", "get_bucket_location", "list_objects_v2"])
def test_bucket_of_another_region_names_its_endpoint(emulated_cloud: EmulatedCloud, call: str) -> None:
    error = refusal(getattr(oss_bucket(emulated_cloud, FAR_BUCKET), call))
    assert (error.status, error.code) == (403, "AccessDenied")
    assert error.details["Endpoint"] == "oss-cn-shanghai.aliyuncs.com"


def test_missing_bucket_is_named(emulated_cloud: EmulatedCloud) -> None:
    error = refusal(oss_bucket(emulated_cloud, "no-such-bucket").get_bucket_info)
    assert (error.status, error.code, error.details["BucketName"]) == (404, "NoSuchBucket", "no-such-bucket")
    assert error.request_id


def test_listing_pages_in_the_order_of_the_keys_bytes(emulated_cloud: EmulatedCloud, bucket: oss2.Bucket) -> None:
    keys = [*(f"m-1_{n:02}" for n in range(7)), "A&B<C>", "z", "é"]
    for key in keys:
        emulated_cloud.put_object(BUCKET, key, key.encode())
    first = bucket.list_objects_v2(max_keys=4)
    assert first.is_truncated
    assert len(first.object_list) == 4
    listed = [found.key for found in oss2.ObjectIteratorV2(bucket, max_keys=3)]
    assert listed == sorted([*keys, KEY], key=str.encode)
    after = bucket.list_objects_v2(start_after="m-1_05")
    assert [found.key for found in after.object_list] == ["m-1_06", "z", "é"]


def test_listing_shows_size_etag_type_and_class(emulated_cloud: EmulatedCloud, bucket: oss2.Bucket) -> None:
    (found,) = bucket.list_objects_v2(prefix="folder/").object_list
    stored = emulated_cloud.objects(BUCKET)[0]
    assert (found.size, found.etag, found.type, found.storage_class) == (1000, stored.etag, "Normal", "Standard")
    assert found.last_modified == stored.last_modified


def test_listing_folds_names_at_the_delimiter(emulated_cloud: EmulatedCloud, bucket: oss2.Bucket) -> None:
    for key in ("a/1", "a/2", "b"):
        emulated_cloud.put_object(BUCKET, key, b"")
    listed = bucket.list_objects_v2(delimiter="/")
    assert listed.prefix_list == ["a/", "folder/"]
    assert [found.key for found in listed.object_list] == ["b"]
    assert [found.key for found in bucket.list_objects_v2(prefix="a/", delimiter="/").object_list] == ["a/1", "a/2"]


@pytest.mark.parametrize("max_keys", [0, 1001])
def test_listing_refuses_a_page_size_out_of_bounds(bucket: oss2.Bucket, max_keys: int) -> None:
    assert refusal(lambda: bucket.list_objects_v2(max_keys=max_keys)).code == "InvalidArgument"


# Objects


def test_head_tells_everything_but_the_bytes(bucket: oss2.Bucket) -> None:
    headers = bucket.head_object(KEY).headers
    assert headers["content-length"] == "1000"
    assert headers["x-oss-object-type"] == "Normal"
    assert headers["x-oss-storage-class"] == "Standard"
    assert int(headers["x-oss-hash-crc64ecma"]) == CRC64.calc(CONTENT)


@pytest.mark.parametrize("call", ["head_object", "get_object"])
def test_missing_object_is_told_from_a_missing_bucket(emulated_cloud: EmulatedCloud, call: str) -> None:
    error = refusal(lambda: getattr(oss_bucket(emulated_cloud, BUCKET), call)("nothing"))
    assert (error.status, error.code) == (404, "NoSuchKey")
    error = refusal(lambda: getattr(oss_bucket(emulated_cloud, "no-such-bucket"), call)("nothing"))
    assert (error.status, error.code) == (404, "NoSuchBucket")


@pytest.mark.parametrize(
    ("byte_range", "headers", "span"),
    [
        # The two tables of the vendor's range download page, then the other spellings.
        pytest.param("bytes=500-2000", {}, WHOLE, id="end-beyond"),
        pytest.param("bytes=500-2000", STANDARD, (500, 999), id="end-beyond-standard"),
        pytest.param("bytes=1000-2000", {}, WHOLE, id="start-beyond"),
        pytest.param("bytes=1000-", {}, WHOLE, id="open-start-beyond"),
        pytest.param("bytes=0-0", {}, (0, 0), id="one-byte"),
        pytest.param("bytes=500-", {}, (500, 999), id="open"),
        pytest.param("bytes=-500", {}, (500, 999), id="suffix"),
        pytest.param("bytes=-2000", STANDARD, (0, 999), id="suffix-beyond-standard"),
        pytest.param("bytes=0-999", STANDARD, (0, 999), id="everything"),
        pytest.param("bytes=9-5", STANDARD, WHOLE, id="backwards"),
        pytest.param("bytes=0-9,20-29", STANDARD, WHOLE, id="two-ranges"),
        pytest.param("lines=0-9", STANDARD, WHOLE, id="not-bytes"),
    ],
)
def test_get_serves_ranges_as_the_vendors_tables_say(
    emulated_cloud: EmulatedCloud,
    bucket: oss2.Bucket,
    byte_range: str,
    headers: dict[str, str],
    span: tuple[int, int] | None,
) -> None:
    # V1: headers of OSS's own are signed, whereas a range may be added to any URL.
    bucket.auth = oss2.Auth(emulated_cloud.access_key_id, emulated_cloud.access_key_secret)
    answer = fetch(bucket.sign_url("GET", KEY, 60, headers=headers), Range=byte_range, **headers)
    first, last = span or (0, 999)
    assert answer.status_code == (206 if span else 200)
    assert answer.headers.get("content-range") == (f"bytes {first}-{last}/1000" if span else None)
    assert answer.content == CONTENT[first : last + 1]
    assert int(answer.headers["x-oss-hash-crc64ecma"]) == CRC64.calc(CONTENT)


@pytest.mark.parametrize("first", [1000, 2000])
def test_get_refuses_a_range_that_begins_behind_the_end_where_the_standard_is_asked_for(
    bucket: oss2.Bucket, first: int
) -> None:
    error = refusal(lambda: bucket.get_object(KEY, byte_range=(first, None), headers=STANDARD))
    assert (error.status, error.code) == (416, "InvalidRange")


def test_range_of_an_empty_object_is_nothing(emulated_cloud: EmulatedCloud, bucket: oss2.Bucket) -> None:
    emulated_cloud.put_object(BUCKET, "empty", b"")
    assert bucket.get_object("empty").read() == b""
    assert bucket.get_object("empty", byte_range=(0, 9)).read() == b""
    assert refusal(lambda: bucket.get_object("empty", byte_range=(0, 9), headers=STANDARD)).code == "InvalidRange"


@pytest.mark.parametrize("quote", ['"{}"', "{}"], ids=["quoted", "bare"])
def test_get_checks_if_match(emulated_cloud: EmulatedCloud, bucket: oss2.Bucket, quote: str) -> None:
    headers = {"If-Match": quote.format(bucket.head_object(KEY).etag)}
    assert bucket.get_object(KEY, headers=headers).read() == CONTENT
    emulated_cloud.put_object(BUCKET, KEY, CONTENT[::-1])
    error = refusal(lambda: bucket.get_object(KEY, headers=headers))
    assert (error.status, error.code) == (412, "PreconditionFailed")


def test_get_checks_if_unmodified_since(bucket: oss2.Bucket) -> None:
    assert bucket.get_object(KEY, headers={"If-Unmodified-Since": formatdate(time.time() + 60, usegmt=True)}).read()
    before = {"If-Unmodified-Since": formatdate(time.time() - 60, usegmt=True)}
    assert refusal(lambda: bucket.get_object(KEY, headers=before)).code == "PreconditionFailed"


def test_archived_object_cannot_be_read_until_restored(emulated_cloud: EmulatedCloud) -> None:
    add_bucket(emulated_cloud.folder, "cold", storage_class="Archive")
    emulated_cloud.put_object("cold", "disk", b"frozen")
    bucket = oss_bucket(emulated_cloud, "cold")
    assert bucket.head_object("disk").headers["x-oss-storage-class"] == "Archive"
    error = refusal(lambda: bucket.get_object("disk"))
    assert (error.status, error.code) == (403, "InvalidObjectState")


def test_deleted_object_is_gone(bucket: oss2.Bucket) -> None:
    bucket.delete_object(KEY)
    assert not bucket.object_exists(KEY)
    bucket.delete_object(KEY)  # no error, as in OSS


def test_object_with_a_very_long_key_is_found(emulated_cloud: EmulatedCloud, bucket: oss2.Bucket) -> None:
    key = "盘" * 300
    emulated_cloud.put_object(BUCKET, key, b"content")
    assert bucket.get_object(key).read() == b"content"
    assert key in [found.key for found in oss2.ObjectIteratorV2(bucket)]


@pytest.mark.parametrize("name", ["..", ".", "../buckets/" + BUCKET, "%2e%2e"])
def test_bucket_name_cannot_leave_the_folder(emulated_cloud: EmulatedCloud, name: str) -> None:
    (emulated_cloud.folder / "bucket.json").write_text('{"name": "trap"}', encoding="utf-8")
    answer = fetch(f"http://{emulated_cloud.oss_endpoint}/{name}/")
    assert answer.status_code == 403


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_oss_says_that_it_does_not_play_an_operation(bucket: oss2.Bucket, method: str) -> None:
    call = bucket.put_object if method == "PUT" else bucket.append_object
    arguments = (KEY, b"x") if method == "PUT" else (KEY, 0, b"x")
    assert refusal(lambda: call(*arguments)).status == 501


def test_denied_action_is_forbidden_by_ram(emulated_cloud: EmulatedCloud, bucket: oss2.Bucket) -> None:
    emulated_cloud.variants = Variants(denied_actions=frozenset({"oss:GetObject", "oss:GetBucketInfo"}))
    for call in (lambda: bucket.head_object(KEY), lambda: bucket.get_object(KEY), bucket.get_bucket_info):
        error = refusal(call)
        assert (error.status, error.code) == (403, "AccessDenied")
    assert bucket.get_bucket_location().location == "oss-cn-hangzhou"


# Faults


def read_all(bucket: oss2.Bucket) -> bytes:
    answer = bucket.get_object(KEY)
    content: bytes = answer.read()
    return content


@pytest.mark.parametrize("variants", [Variants(truncate_gets=2), Variants(reset_gets=2)], ids=["truncated", "reset"])
def test_broken_bodies_are_noticed_by_the_client(
    emulated_cloud: EmulatedCloud, bucket: oss2.Bucket, variants: Variants
) -> None:
    emulated_cloud.variants = variants
    for _ in range(2):
        with pytest.raises(requests.RequestException):
            read_all(bucket)
    assert read_all(bucket) == CONTENT


def test_stalled_body_ends_when_the_client_hangs_up(emulated_cloud: EmulatedCloud, bucket: oss2.Bucket) -> None:
    emulated_cloud.variants = Variants(stall_gets=1)
    bucket.timeout = 0.2
    with pytest.raises(requests.RequestException, match="timed out"):
        read_all(bucket)
    assert read_all(bucket) == CONTENT


def test_corrupt_body_has_one_wrong_bit_and_the_right_crc_header(
    emulated_cloud: EmulatedCloud, bucket: oss2.Bucket
) -> None:
    emulated_cloud.variants = Variants(corrupt_gets=1)
    answer = bucket.get_object(KEY)
    assert answer.read() == bytes([CONTENT[0] ^ 1]) + CONTENT[1:]
    assert int(answer.headers["x-oss-hash-crc64ecma"]) == CRC64.calc(CONTENT)
    assert read_all(bucket) == CONTENT


def test_unavailable_gets_pass_after_a_while(emulated_cloud: EmulatedCloud, bucket: oss2.Bucket) -> None:
    emulated_cloud.variants = Variants(unavailable_gets=1)
    bucket.head_object(KEY)
    error = refusal(lambda: bucket.get_object(KEY))
    assert (error.status, error.code) == (503, "ServiceUnavailable")
    assert read_all(bucket) == CONTENT


def test_ignored_range_serves_the_whole_object(emulated_cloud: EmulatedCloud, bucket: oss2.Bucket) -> None:
    emulated_cloud.variants = Variants(ignore_ranges=True)
    answer = bucket.get_object(KEY, byte_range=(10, 19))
    assert (answer.status, answer.read()) == (200, CONTENT)


def test_crc_header_can_be_missing(emulated_cloud: EmulatedCloud, bucket: oss2.Bucket) -> None:
    emulated_cloud.variants = Variants(no_crc=True)
    assert "x-oss-hash-crc64ecma" not in bucket.head_object(KEY).headers
    assert "x-oss-hash-crc64ecma" not in bucket.get_object(KEY).headers


def test_object_is_replaced_between_two_ranges(emulated_cloud: EmulatedCloud, bucket: oss2.Bucket) -> None:
    emulated_cloud.variants = Variants(replace_after_gets=1)
    before = bucket.head_object(KEY)
    assert bucket.get_object(KEY, byte_range=(0, 499)).read() == CONTENT[:500]
    error = refusal(lambda: bucket.get_object(KEY, byte_range=(500, 999), headers={"If-Match": before.etag}))
    assert error.code == "PreconditionFailed"
    after = bucket.head_object(KEY)
    assert after.etag != before.etag
    assert after.content_length == before.content_length
    assert CRC64.calc(read_all(bucket)) == int(after.headers["x-oss-hash-crc64ecma"])
    assert bucket.head_object(KEY).etag == after.etag  # replaced once, not again and again


def test_bandwidth_limit_slows_a_connection_down(emulated_cloud: EmulatedCloud, bucket: oss2.Bucket) -> None:
    emulated_cloud.variants = Variants(bytes_per_second=5)
    bucket.timeout = 0.1  # seconds without a byte, where the next one comes after 0.2 s
    with pytest.raises(requests.RequestException, match="timed out"):
        read_all(bucket)
    emulated_cloud.variants = Variants(bytes_per_second=100_000)
    assert read_all(bucket) == CONTENT


def test_requests_are_remembered_without_secrets(emulated_cloud: EmulatedCloud, bucket: oss2.Bucket) -> None:
    bucket.get_object(KEY, byte_range=(5, 9))
    fetch(bucket.sign_url("GET", KEY, 60))
    assert emulated_cloud.requests == [("GET", f"/{BUCKET}/{KEY}", "bytes=5-9"), ("GET", f"/{BUCKET}/{KEY}", "")]
    assert all("x-oss-signature" not in call.params for call in emulated_cloud.calls)


@pytest.mark.parametrize("limit", ["819199", "838860801", "1M", "-1"])
def test_traffic_limit_out_of_bounds_is_an_invalid_argument(emulated_cloud: EmulatedCloud, limit: str) -> None:
    emulated_cloud.put_object(BUCKET, "a", b"bytes")
    bucket = oss_bucket(emulated_cloud, BUCKET)
    with pytest.raises(oss2.exceptions.ServerError) as caught:
        bucket.get_object("a", headers={"x-oss-traffic-limit": limit})
    assert (caught.value.status, caught.value.code, caught.value.ec) == (400, "InvalidArgument", "0004-00000502")


def test_archived_object_is_restored_in_the_vendors_words(emulated_cloud: EmulatedCloud) -> None:
    emulated_cloud.put_object(BUCKET, "a", b"bytes", storage_class="ColdArchive")
    bucket = oss_bucket(emulated_cloud, BUCKET)
    with pytest.raises(oss2.exceptions.ServerError) as refused:
        bucket.get_object("a")
    assert (refused.value.status, refused.value.code) == (403, "InvalidObjectState")
    assert "x-oss-restore" not in bucket.head_object("a").headers
    assert bucket.restore_object("a", input=oss2.models.RestoreConfiguration(2)).status == 202
    with pytest.raises(oss2.exceptions.RestoreAlreadyInProgress):
        bucket.restore_object("a")
    assert bucket.head_object("a").headers["x-oss-restore"] == 'ongoing-request="true"'
    assert bucket.head_object("a").headers["x-oss-restore"].startswith('ongoing-request="false", expiry-date="')
    assert bucket.get_object("a").read() == b"bytes"
    assert bucket.restore_object("a").status == 200
    emulated_cloud.put_object(BUCKET, "a", b"other", storage_class="ColdArchive")
    with pytest.raises(oss2.exceptions.ServerError):
        bucket.get_object("a")


def test_standard_object_cannot_be_restored(emulated_cloud: EmulatedCloud) -> None:
    emulated_cloud.put_object(BUCKET, "a", b"bytes")
    with pytest.raises(oss2.exceptions.OperationNotSupported):
        oss_bucket(emulated_cloud, BUCKET).restore_object("a")
    with pytest.raises(oss2.exceptions.NoSuchKey):
        oss_bucket(emulated_cloud, BUCKET).restore_object("b")
