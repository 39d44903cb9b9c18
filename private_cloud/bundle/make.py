"""Makes a bundle: each file proven on its way in, a killed attempt gone on with, the name only for what is whole."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from migration.errors import InvalidInput
from migration.progress import Progress, Stop, check_stop, no_progress
from migration.storage import (
    allocated,
    check_free_space,
    format_size,
    sha256_of_file,
    storage_errors,
    sync_directory,
    write_atomically,
)
from migration.workspace import Workspace
from private_cloud.bundle.contents import Bundle, BundleSettings, Contents, Item, RecordedBundle
from private_cloud.bundle.far_side.manifest import Manifest, manifest_sum_text, read_manifest, sums_text
from private_cloud.bundle.far_side.names import (
    MANIFEST,
    MANIFEST_SUM,
    SIGNATURE,
    VERIFIER,
    BadManifest,
    check_distinct,
    check_path,
    fingerprint,
    piece_name,
    sums_name,
    volume_name,
)
from private_cloud.bundle.kept import Kept, open_kept
from private_cloud.bundle.layout import CLUSTER, Cut, plan_cuts
from private_cloud.bundle.manifest import PlacedFile, make_head, measure_head, render_manifest
from private_cloud.bundle.placing import Placement, place_file
from private_cloud.bundle.signing import check_key, sign_manifest

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is to be done: the files with their sizes, how each is cut, and what every volume carries."""

    items: tuple[Item, ...]
    sizes: Mapping[str, int]
    cuts: Sequence[Sequence[Cut]]
    head: Mapping[str, bytes]

    @property
    def volumes(self) -> int:
        return max((cut.volume for cuts in self.cuts for cut in cuts), default=1)


def make_bundle(
    workspace: Workspace,
    contents: Contents,
    settings: BundleSettings,
    output: Path,
    *,
    progress: Progress = no_progress,
    stop: Stop | None = None,
) -> Bundle:
    """Return the bundle `output`/`settings.name`, making it only if that very one is not there yet.

    It is made as `….partial` beside it; what a killed attempt has finished there is kept if it proves. The workspace
    keeps the manifest and the small files in `bundles/`, so that pieces can be sent again without the bundle.

    Raises `InvalidInput` (a name, a missing file, a folder that is something else), `SourceChanged` (a file is not
    what it was when it was made), `NoSpace`, `ToolMissing`, `Interrupted`.
    """
    _check_names(contents, settings)
    if settings.sign is not None:
        check_key(settings.sign)
    final = output.expanduser().absolute() / settings.name
    if final.resolve().is_relative_to(workspace.path.resolve()):
        raise InvalidInput(
            f"{final}: the bundle would lie in the workspace that it is made of, and go with it",
            "choose another folder",
        )
    partial = final.with_name(f"{settings.name}.partial")
    with storage_errors(final), open_kept(workspace, settings.name) as kept:
        items = tuple(sorted(_take_in(contents, kept, settings, stop), key=_reading_order))
        request = _request_digest(items, contents, settings)
        known = workspace.journal.get(_step(settings), RecordedBundle)
        if final.exists() or final.is_symlink():
            return _find_again(final, known, request, progress)
        workspace.journal.forget(_step(settings))
        plan = _plan(items, contents, settings)
        _prepare(partial, plan, settings)
        bundle = _fill(partial, final, plan, contents, settings, kept, progress, stop)
        workspace.journal.record(_step(settings), RecordedBundle(bundle=bundle, request=request))
    return bundle


def _step(settings: BundleSettings) -> str:
    return f"bundle:{settings.name}"


def _reading_order(item: Item) -> tuple[bool, str]:
    # What people read first lies on the first volume.
    return item.path.startswith("images/"), item.path


def _check_names(contents: Contents, settings: BundleSettings) -> None:
    paths = [*(item.path for item in contents.items), *contents.texts]
    try:
        for path in (settings.name, *paths):
            check_path(path)
        check_path(settings.name.replace("/", " "))  # one word
        check_distinct(paths)
    except BadManifest as error:
        raise InvalidInput(
            f"it cannot go into a bundle: {error}", "use letters, digits, and . _ + - in names"
        ) from error
    if not contents.items:
        raise InvalidInput("there is nothing to bundle", "convert the disks first")
    for item in contents.items:
        if not item.source.is_file() or item.source.is_symlink():
            raise InvalidInput(f"{item.source}: there is no such file, or it is a link", "make it again")


def _take_in(contents: Contents, kept: Kept, settings: BundleSettings, stop: Stop | None) -> list[Item]:
    """Return all files, each with the digest it must have; small ones as they are now, in copies of our own."""
    items = []
    for path, text in contents.texts.items():
        items.append(kept.take_text(path, text))
    for item in contents.items:
        check_stop(stop)
        if item.sha256 is None and item.source.stat().st_size <= settings.chunk_size:
            items.append(kept.take_copy(item))
        else:
            items.append(item if item.sha256 else replace(item, sha256=sha256_of_file(item.source, stop=stop)))
    return items


def _request_digest(items: Sequence[Item], contents: Contents, settings: BundleSettings) -> str:
    asked = [
        settings.name, settings.split, settings.chunk_size, str(settings.sign or ""),
        [[item.path, item.sha256] for item in items], contents.provenance,
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def is_as_made(bundle: Bundle) -> bool:
    """Return whether the bundle's manifest lies where it was made, as it was made."""
    manifest = bundle.path / MANIFEST
    if not manifest.is_file():
        manifest = bundle.path / volume_name(1) / MANIFEST
    is_ours = manifest.is_file() and not bundle.path.is_symlink()
    return is_ours and hashlib.sha256(manifest.read_bytes()).hexdigest() == bundle.manifest_sha256


def _find_again(final: Path, known: RecordedBundle | None, request: str, progress: Progress) -> Bundle:
    """Return the bundle that has the name already, if it is what was asked for."""
    if known is None or known.bundle.path != final or not is_as_made(known.bundle):
        raise InvalidInput(f"{final} is there already, and is no bundle of this workspace", "choose another --name")
    if known.request != request:
        raise InvalidInput(
            f"{final} is a bundle of this workspace with other contents", "choose another --name, or delete that folder"
        )
    log.info("%s is there already", final)
    progress(known.bundle.size, known.bundle.size)
    return replace(known.bundle, linked=())  # whoever had to learn of them has


def _plan(items: tuple[Item, ...], contents: Contents, settings: BundleSettings) -> _Plan:
    """Plan the volumes. How many there are decides how long the manifest is that each of them carries, and back."""
    sizes = {item.path: item.source.stat().st_size for item in items}
    is_signed = settings.sign is not None
    reserve = 0
    while True:
        # Every volume has room for what it carries, each file of that in clusters of its own.
        capacity = None if settings.split is None else settings.split - reserve - 8 * CLUSTER
        cuts = plan_cuts(list(sizes.values()), capacity, settings.chunk_size)
        volumes = max((cut.volume for one in cuts for cut in one), default=1)
        head = make_head(settings.name, volumes, is_signed=is_signed)
        needed = measure_head(
            sizes, cuts, head, contents.provenance, name=settings.name, chunk_size=settings.chunk_size
        )
        if settings.split is None or needed <= reserve:
            return _Plan(items, sizes, cuts, head)
        reserve = needed


def _prepare(partial: Path, plan: _Plan, settings: BundleSettings) -> None:
    """Make the folder, without what an earlier attempt at something else has left; see that there is room."""
    partial.mkdir(parents=True, exist_ok=True)
    planned = {target for cuts in _targets(partial, plan, settings) for _, target in cuts}
    folders = {parent for target in planned for parent in target.parents}
    for path in sorted(partial.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            if path not in folders:
                path.rmdir()
        elif path not in planned or path.is_symlink():
            path.unlink()
    needed = len(plan.head) * CLUSTER + sum(map(len, plan.head.values())) * plan.volumes
    device = partial.stat().st_dev
    for item, cuts in zip(plan.items, _targets(partial, plan, settings), strict=True):
        can_link = settings.link and len(cuts) == 1 and item.source.stat().st_dev == device
        missing = sum(cut.size for cut, target in cuts if not target.is_file())
        needed += 0 if can_link else min(missing, allocated(item.source))
    check_free_space(partial, needed, "the bundle")


def _targets(root: Path, plan: _Plan, settings: BundleSettings) -> list[tuple[tuple[Cut, Path], ...]]:
    """Return where each piece of each file goes."""
    targets = []
    for item, cuts in zip(plan.items, plan.cuts, strict=True):
        names = [item.path] if len(cuts) == 1 else [piece_name(item.path, n + 1) for n in range(len(cuts))]
        folders = [root if settings.split is None else root / volume_name(cut.volume) for cut in cuts]
        targets.append(
            tuple((cut, folder / name) for cut, folder, name in zip(cuts, folders, names, strict=True))
        )  # fmt: skip
    return targets


def _fill(
    partial: Path, final: Path, plan: _Plan, contents: Contents, settings: BundleSettings, kept: Kept,
    progress: Progress, stop: Stop | None,
) -> Bundle:  # fmt: skip
    total, done, files, linked = sum(plan.sizes.values()), 0, [], []

    def advance(size: int) -> None:
        nonlocal done
        done += size
        progress(done, total)

    progress(0, total)
    for item, targets in zip(plan.items, _targets(partial, plan, settings), strict=True):
        log.info("Bundling %s (%s)", item.path, format_size(plan.sizes[item.path]))
        proven = place_file(
            Placement(
                source=item.source, sha256=item.sha256 or "", cuts=targets, chunk_size=settings.chunk_size,
                link=settings.link,
            ),
            advance, stop,
        )  # fmt: skip
        pieces = tuple((cut, digest) for (cut, _), digest in zip(targets, proven.pieces, strict=True))
        files.append(
            PlacedFile(
                path=item.path, size=plan.sizes[item.path], sha256=proven.sha256, chunks=proven.chunks, pieces=pieces
            )
        )
        if proven.linked is not None:
            linked.append((item.source, proven.linked))
    manifest = render_manifest(
        files, plan.head, contents.provenance,
        name=settings.name, chunk_size=settings.chunk_size, is_signed=settings.sign is not None,
    )  # fmt: skip
    meant = read_manifest(manifest)  # what the far side would refuse must not leave here
    kept.finish(manifest, plan.items, plan.head)
    signature = sign_manifest(kept.manifest, settings.sign, stop=stop) if settings.sign is not None else None
    for volume in range(1, plan.volumes + 1):
        number = None if settings.split is None else volume
        folder = partial if number is None else partial / volume_name(volume)
        write_head(folder, meant, manifest, plan.head, {sums_name(number): sums_text(meant, number)}, signature)
    for path in sorted(partial.rglob("*")):
        if path.is_dir():
            sync_directory(path)
    sync_directory(partial)
    partial.rename(final)
    sync_directory(final.parent)
    return Bundle(
        path=final, manifest_sha256=meant.digest, fingerprint=fingerprint(meant.digest), size=total,
        files=len(files), volumes=plan.volumes, is_signed=signature is not None, linked=tuple(linked),
    )  # fmt: skip


def write_head(
    folder: Path, meant: Manifest, manifest: bytes, head: Mapping[str, bytes], texts: Mapping[str, str],
    signature: Path | None,
) -> None:  # fmt: skip
    """Write what every volume has into one: the verifier, the manifest, their digests, the signature."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in {**texts, MANIFEST_SUM: manifest_sum_text(meant.digest)}.items():
        write_atomically(folder / name, text)
    for name, data in {**head, MANIFEST: manifest}.items():
        write_atomically(folder / name, data.decode())
    (folder / VERIFIER).chmod(0o755)
    if signature is not None:
        write_atomically(folder / SIGNATURE, signature.read_text(encoding="ascii"))
