"""Knows the errors of the ECS API: code, HTTP status and message."""

from __future__ import annotations


class EcsError(Exception):
    """An error answer of the ECS API."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(status, code, message)
        self.status, self.code, self.message = status, code, message


# Codes, statuses and messages: vendor's ExportImage page of January 2026; where the page has "%s", the
# words are a guess. The keys behind a slash tell apart what shares a code.
EXPORT_ERRORS = {
    "InvalidImageName.Malformed": (400, "The specified Image name is wrongly formed."),
    "InvalidOSSPrefix.Malformed": (400, "The specified OSSPrefix format is wrongly formed."),
    "InvalidRegionId.NotFound": (400, "The specified RegionId does not exist."),
    "InvalidRegion.NotSupport": (400, "The specified region does not support image import or export."),
    "IncorrectImageStatus": (400, "The specified Image is not available."),
    "InvalidImageFormat.Malformed": (400, "The specified Image Format is wrongly formed."),
    "InvalidImageFormat.RegionNotSupported": (400, "The specified image format is not supported in current region."),
    "InvalidOSSBucket.NotFound": (400, "The specified OSS bucket does not exist in this region."),
    "InvalidOSSBucket.NotMatched": (400, "The specified OSS bucket is incorrect, it is not in the image's region."),
    "OperationDenied": (
        400, "The specified image contains the snapshot of the data disk,does not support this operation.",
    ),
    "InvalidImage.DiskAmountOrSize": (400, "The diskSize of the image exceeds the maximum size."),
    "ImageNotSupported/encrypted": (
        400, "The specified Image contains encrypted snapshots, do not support export.",
    ),
    "InvalidOSSObject.NeedRestore": (400, "The specified OSS object is a archive object, need restore first."),
    "ImageNotSupported/marketplace": (
        403, "The specified image from the image market, do not support export image.",
    ),
    "ImageIsExporting": (
        403,
        (
            "The specified Image is being exported. "
            "You can use the DescribeTasks API to check the status of existing tasks."
        ),
    ),
    "ExportImageFailed": (403, "Exporting image is failed, Please contact the administrator."),
    "UserNotInTheWhiteList": (403, "The user is not in the white list of exporting image."),
    "NoSetRoletoECSServiceAcount": (
        403,
        (
            "ECS service account Have no right to access your OSS."
            "please attach a role of access your oss to ECS service account."
        ),
    ),
    "InvalidOSS.NotAuthorized": (403, "The specified OSS bucket or object is not allowed to access."),
    "ConcurrentQuotaExceed.ExportImage": (403, "The number of concurrent export tasks exceeds the quota."),
    "WeeklyQuotaExceed.ExportImage": (403, "The number of exports in a week exceeds the quota."),
    "InvalidImageLicense.NotSupported": (403, "The license of the image does not allow its export."),
    "InvalidImageCategory.NotSupported": (403, "The specified image category is not supported."),
    "InvalidOSSBucket.EncryptUnsupported": (403, "Accessing objects from encrypted OSS bucket is not supported."),
    "InvalidImageId.NotFound": (404, "The specified ImageId does not exist."),
}  # fmt: skip


def export_error(key: str) -> EcsError:
    """Return the ExportImage error of the table that is called `key`."""
    status, message = EXPORT_ERRORS[key]
    return EcsError(status, key.partition("/")[0], message)


def missing(parameter: str) -> EcsError:
    """Return the error for a parameter that was not given (vendor's ExportImage page)."""
    message = f'An input parameter "{parameter}" that is mandatory for processing the request is not supplied.'
    return EcsError(400, "MissingParameter", message)
