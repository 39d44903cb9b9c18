"""The stable names of all findings; what each means and what to do is told in docs/fstab-findings.md."""

from __future__ import annotations

from migration.str_enum import StrEnum


class Code(StrEnum):
    """A finding's code. Codes are never renamed or reused: programs and people search for them."""

    # The file
    FSTAB_MISSING = "fstab-missing"
    FSTAB_UNREADABLE = "fstab-unreadable"
    FSTAB_TOO_LARGE = "fstab-too-large"
    FSTAB_CRLF = "fstab-crlf"
    FSTAB_ENCODING = "fstab-encoding"
    FSTAB_CONTROL_CHARACTERS = "fstab-control-characters"
    LINE_INCOMPLETE = "line-incomplete"
    LINE_NUMBER_INVALID = "line-number-invalid"
    LINE_BROKEN = "line-broken"
    LINE_READ_DIFFERENTLY = "line-read-differently"

    # The source of a line
    DEVICE_NOT_EXPORTED = "device-not-exported"
    DEVICE_NAME = "device-name"
    DEVICE_NAME_SHIFTS = "device-name-shifts"
    PARTITION_MISSING = "partition-missing"
    WHOLE_DISK_PARTITIONED = "whole-disk-partitioned"
    FILESYSTEM_MISSING = "filesystem-missing"
    TAG_UNMATCHED = "tag-unmatched"
    TAG_AMBIGUOUS = "tag-ambiguous"
    TAG_CASE = "tag-case"
    CLOUD_DISK_ID = "cloud-disk-id"
    CLOUD_DISK_PATH = "cloud-disk-path"
    VOLUME_MISSING = "volume-missing"
    VOLUME_INCOMPLETE = "volume-incomplete"
    ARRAY_MISSING = "array-missing"
    MAPPING_UNEXAMINED = "mapping-unexamined"
    SOURCE_UNKNOWN = "source-unknown"
    SOURCE_UNEXAMINED = "source-unexamined"
    FILESYSTEM_UNMOUNTABLE = "filesystem-unmountable"
    FILE_MISSING = "file-missing"
    FILE_UNEXAMINED = "file-unexamined"
    NETWORK_MOUNT = "network-mount"

    # The file system and the mount point of a line
    TYPE_DIFFERS = "type-differs"
    SUBVOLUME_MISSING = "subvolume-missing"
    MOUNTPOINT_MISSING = "mountpoint-missing"
    MOUNTPOINT_INVALID = "mountpoint-invalid"
    MOUNTPOINT_DUPLICATE = "mountpoint-duplicate"
    MOUNTPOINT_ORDER = "mountpoint-order"
    MOUNTPOINT_SPELLING = "mountpoint-spelling"
    MOUNTPOINT_SYMLINK = "mountpoint-symlink"
    FILESYSTEM_TWICE = "filesystem-twice"

    # The options and the check of a line
    OPTION_CONFLICT = "option-conflict"
    OPTION_MISSPELT = "option-misspelt"
    OPTION_REMOVED = "option-removed"
    OPTION_IGNORED = "option-ignored"
    DEVICE_TIMEOUT_ENDLESS = "device-timeout-endless"
    DEPENDENCY_UNKNOWN = "dependency-unknown"
    DATA_WITHOUT_NOFAIL = "data-without-nofail"
    FSCK_POINTLESS = "fsck-pointless"
    FSCK_ORDER = "fsck-order"
    FSCK_ROOT_OFF = "fsck-root-off"

    # The root file system
    ROOT_ENTRY_MISSING = "root-entry-missing"
    ROOT_ENTRY_DIFFERS = "root-entry-differs"
    ROOT_AMBIGUOUS = "root-ambiguous"
    ROOT_ON_DATA_DISK = "root-on-data-disk"

    # What the boot loader says to the kernel
    ROOT_ARGUMENT_NAME = "root-argument-name"
    ROOT_ARGUMENT_UNMATCHED = "root-argument-unmatched"
    ROOT_ARGUMENT_DIFFERS = "root-argument-differs"
    BOOT_CONFIG_UNEXAMINED = "boot-config-unexamined"
    DRIVER_MISSING = "driver-missing"
    DRIVER_UNEXAMINED = "driver-unexamined"

    # The disks
    DISK_UNREFERENCED = "disk-unreferenced"
    DISK_BLANK = "disk-blank"
    DISK_UNEXAMINED = "disk-unexamined"
    DISK_NOT_GIVEN = "disk-not-given"
    FILESYSTEM_UNREFERENCED = "filesystem-unreferenced"

    # Other files that mount, or keep from mounting
    MOUNT_UNIT_OVERRIDES = "mount-unit-overrides"
    MOUNT_UNIT_MASKED = "mount-unit-masked"
    MOUNT_UNIT_SOURCE = "mount-unit-source"
    MOUNT_UNIT_UNEXAMINED = "mount-unit-unexamined"
    CLOUD_INIT_FORMATS = "cloud-init-formats"
    CLOUD_INIT_MOUNT = "cloud-init-mount"
    CLOUD_INIT_LINE = "cloud-init-line"
    CLOUD_INIT_DATASOURCE = "cloud-init-datasource"
    LVM_FILTER = "lvm-filter"
    LVM_DEVICES_FILE = "lvm-devices-file"
    MD_DEVICES = "md-devices"
    MD_NAME = "md-name"
    MD_ARRAY_ABSENT = "md-array-absent"
    AUTOFS_DEVICE = "autofs-device"
    AUTOFS_NETWORK = "autofs-network"
    SERVICE_NEEDS_MOUNT = "service-needs-mount"
    CONFIG_UNEXAMINED = "config-unexamined"
