"""`make demo`: a small real server is exported from an emulated cloud and made ready for a private one.

The emulated ECS and OSS run as a process of their own; the flow is the real one, through the real SDKs.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from demo.more_boots import boot_by_libvirt, boot_vmdks
from migration.acceleration import kvm_works
from migration.artifact import Artifact
from migration.run import leashed
from migration.storage import format_size
from private_cloud.qemu_system import boot_argv

HOME = Path(".demo").absolute()
REGION = "cn-hangzhou"


def main() -> int:
    """Run the demo and return its exit code. `--fresh` forgets what an earlier run has made."""
    if "--fresh" in sys.argv:
        shutil.rmtree(HOME, ignore_errors=True)
    HOME.mkdir(exist_ok=True)
    # Before anything imports Prefect: its database and settings of the demo stay in the demo's folder.
    os.environ["PREFECT_HOME"] = str(HOME / "prefect")
    for name in ("PREFECT_API_URL", "PREFECT_PROFILE"):
        os.environ.pop(name, None)
    started = time.monotonic()
    _say("Making the demo server and starting the emulated cloud")
    with _emulated_cloud(HOME / "cloud") as cloud:
        os.environ.update(cloud.credentials)
        _say(f"The image {cloud.image_id} has a system disk and two data disks; starting the flow")
        code = _run_flow(cloud)
    if code != 0:
        return code
    report = json.loads((HOME / "workspace" / "report.json").read_text(encoding="utf-8"))
    _show_boot(report)
    if not _boot_in_other_ways():
        return 1
    _say_what_was_made(report, time.monotonic() - started)
    return 0


class _Cloud:
    """What `ferry emulator` says about itself."""

    def __init__(self, lines: Iterator[str]) -> None:
        self.image_id = self.bucket = self.ecs = self.oss = ""
        self.credentials: dict[str, str] = {}
        for line in lines:
            word, _, rest = line.partition(" ")
            if word == "image":
                self.image_id, _, self.bucket = rest.partition(", bucket ")
            elif word == "ECS":
                self.ecs = rest.removeprefix("http://")
            elif word == "OSS":
                self.oss = rest.removeprefix("http://")
            elif word == "export":
                name, _, value = rest.partition("=")
                self.credentials[name] = value
            if len(self.credentials) == 2:
                return
        raise SystemExit("the emulated cloud did not start")


@contextmanager
def _emulated_cloud(folder: Path) -> Iterator[_Cloud]:
    argv = [sys.executable, "-m", "ferry", "emulator", "--demo", "--folder", str(folder)]
    argv += ["--ecs-port", "0", "--oss-port", "0", "--export-seconds", "3"]
    with subprocess.Popen(leashed(argv), stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None  # noqa: S101  # asked for above
        try:
            yield _Cloud(line.rstrip("\n") for line in process.stdout)
        finally:
            process.terminate()


def _run_flow(cloud: _Cloud) -> int:
    argv = [
        sys.executable, "-m", "ferry", "run", cloud.image_id, "--bucket", cloud.bucket, "--region", REGION,
        "--workspace", str(HOME / "workspace"), "--ecs-endpoint", cloud.ecs, "--oss-endpoint", cloud.oss,
        "--to", "qcow2", "--to", "vmdk", "--boot-test",
    ]  # fmt: skip
    with subprocess.Popen(leashed(argv)) as flow:
        try:
            return flow.wait()
        except KeyboardInterrupt:  # it has seen the same Ctrl-C, and stops tidily
            return flow.wait()


def _show_boot(report: dict[str, Any]) -> None:
    """Show that the result is more than equal bytes: the guest came up and mounted all its disks."""
    _say("The qcow2 images were booted, as KVM over there would; the server said")
    for line in Path(report["boot"]["console"]).read_text(encoding="utf-8").splitlines():
        if line.startswith("ferry-demo:"):
            sys.stderr.write(f"  {line}\n")


def _boot_in_other_ways() -> bool:
    """Boot from the VMDKs and from the definition; return whether nothing went wrong."""
    workspace = HOME / "workspace"
    _say("Booting from the VMDKs")
    is_good = boot_vmdks(workspace / "images")
    sys.stderr.write(f"  {'all three file systems mounted' if is_good else 'it does not come up as it should'}\n")
    _say("Booting from the definition for libvirt")
    said, why_not = boot_by_libvirt(workspace / "definitions")
    sys.stderr.write(f"  {said or (f'not tried: {why_not}' if why_not else 'it did not come up')}\n")
    return is_good and (bool(why_not) or "3 of 3" in said)


def _images(report: dict[str, Any], word: str) -> list[Artifact]:
    artifacts = TypeAdapter(list[Artifact]).validate_python(report["artifacts"])
    return [artifact for artifact in artifacts if artifact.format == word]


def _say_what_was_made(report: dict[str, Any], seconds: float) -> None:
    workspace = HOME / "workspace"
    _say(f"Done in {seconds:.0f} s. What was made:")
    for artifact in TypeAdapter(list[Artifact]).validate_python(report["artifacts"]):
        sys.stderr.write(f"  {artifact.path.relative_to(Path.cwd())}  {format_size(artifact.file_size)}\n")
    here = workspace.relative_to(Path.cwd())
    command = shlex.join(boot_argv(_images(report, "qcow2"), kvm=kvm_works(), interactive=True))
    sys.stderr.write(
        f"\nLook at it:\n"
        f"  the report            {here}/report.html, in a browser\n"
        f"  the definitions       {here}/definitions/README.txt\n"
        f"  the check once more   .venv/bin/ferry check-fstab --workspace {here}\n"
        f"  the server itself     {command}\n"
        f"                        (log in as root without a password; Ctrl-A X ends it)\n"
        f"  from the start        make demo FRESH=1\n"
    )


def _say(text: str) -> None:
    sys.stderr.write(f"\n▸ {text}\n")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        _say("Stopped; `make demo` goes on from here")
        sys.exit(130)
