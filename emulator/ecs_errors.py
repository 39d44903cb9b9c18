"""Knows the errors of the ECS API: code, HTTP status and message."""

from __future__ import annotations


class EcsError(Exception):
    """An error answer of the ECS API."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(status, code, message)
        self.status, self.code, self.message = status, code, message


# Codes and statuses: vendor's ExportImage page. The texts say the same in our words, where the page's
# were not at hand. Three refusals share the code ImageNotSupported, so they have keys of their own here.
EXPORT_ERRORS = {
    "InvalidImageName.Malformed": (400, "The specified ImageName is malformed."),
    "InvalidOSSPrefix.Malformed": (400, "The specified OSSPrefix format is wrongly formed."),
    "InvalidRegionId.NotFound": (400, "The specified RegionId does not exist."),
    "InvalidRegion.NotSupport": (400, "The specified region does not support image import or export."),
    "InvalidImageId.NotFound": (404, "The specified ImageId does not exist."),
    "IncorrectImageStatus": (400, "The specified image is not in the Available status."),
    "ImageNotSupported": (403, "The specified image is created from a marketplace image and cannot be exported."),
    "ImageNotSupported/encrypted": (400, "The specified image contains encrypted snapshots and cannot be exported."),
    "ImageNotSupported/product": (400, "Images derived from marketplace products do not support export."),
    "InvalidImageFormat.Malformed": (400, "The specified ImageFormat is malformed."),
    "ImageIsExporting": (403, "The specified image is being exported."),
    "ExportImageFailed": (403, "Exporting the image failed."),
    "UserNotInTheWhiteList": (403, "The user is not in the white list of image export."),
    "NoSetRoletoECSServiceAcount": (403, "ECS service account has no permission to access your OSS."),
    "InvalidOSSBucket.NotFound": (400, "The specified OSSBucket does not exist in this region."),
    "InvalidOSSBucket.NotMatched": (400, "The specified OSSBucket is in another region than the image."),
    "OperationDenied": (400, "The specified image contains data disk snapshots and cannot be exported."),
    "InvalidImage.DiskAmountOrSize": (400, "The amount or the size of the data disks in the image exceeds the limit."),
    "ConcurrentQuotaExceed.ExportImage": (403, "The maximum number of concurrent export tasks is exceeded."),
    "WeeklyQuotaExceed.ExportImage": (403, "The maximum number of exports in a week is exceeded."),
    "InvalidImageLicense.NotSupported": (403, "The license of the image does not allow export."),
}


def export_error(key: str, detail: str = "") -> EcsError:
    """Return the ExportImage error of the table called `key`, with the part of its message that varies."""
    status, message = EXPORT_ERRORS[key]
    return EcsError(status, key.partition("/")[0], f"{message} {detail}".rstrip())


def missing(parameter: str) -> EcsError:
    """Return the error for a parameter that was not given (vendor's ExportImage and task pages)."""
    return EcsError(
        400, "MissingParameter", f'The input parameter "{parameter}" that is mandatory for processing this request is '
        "not supplied.",
    )  # fmt: skip
