"""Says what was found, and what to ask for again."""

import json

from private_cloud.bundle.far_side.look import Look
from private_cloud.bundle.far_side.names import REQUEST_TITLE, WHOLE, fingerprint, ranges_text, shown, size_text


def request_text(look: Look) -> str:
    """Return what to ask for again; short enough to be typed, where nothing may leave the far side."""
    lines = [REQUEST_TITLE, "bundle %s" % fingerprint(look.digest).replace(" ", "")]
    for path, chunks in sorted(look.wanted.items()):
        lines.append("%s %s" % (path, ranges_text(index + 1 for index in chunks)) if chunks else path)
    return "\n".join(lines) + "\n"


def report(look: Look, as_json: bool, request: str, assembling: bool) -> None:
    """Print what was found, and write the request."""
    problems = sorted(look.problems, key=lambda one: (one.path, one.chunk, one.kind))
    if look.wanted:
        try:
            with open(request, "w", encoding="ascii") as file:
                file.write(request_text(look))
        except OSError as error:
            look.notes.append(
                "%s could not be written (%s); it would say what stands below" % (request, error.strerror)
            )
            look.notes.append(request_text(look).strip())
    if as_json:
        print(
            json.dumps(
                {
                    "whole": look.code == WHOLE,
                    "exit_code": look.code,
                    "manifest_sha256": look.digest,
                    "notes": look.notes,
                    "proven_bytes": look.proven,
                    "problems": [one._asdict() for one in problems],
                    "request": request_text(look) if look.wanted else "",
                },
                indent=1,
            )
        )
        return
    manifest = look.manifest
    if manifest is not None:
        total = size_text(sum(entry.size for entry in manifest.files))
        print("bundle %s: %d files, %s, %d volume(s)" % (manifest.name, len(manifest.files), total, manifest.volumes))
        print("fingerprint: %s" % fingerprint(manifest.digest))
    for note in look.notes:
        print(note)
    for one in problems:
        chunk = " chunk %d" % one.chunk if one.chunk else ""
        volume = " (volume %d)" % one.volume if one.volume and manifest and manifest.volumes > 1 else ""
        print("%s: %s%s%s: %s" % (one.kind, shown(one.path), chunk, volume, one.detail))
    if look.code == WHOLE:
        print("WHOLE: every chunk that was asked for is proven, %s" % size_text(look.proven))
    elif assembling and all(one.kind == "MISSING" for one in problems):
        print("NOT WHOLE YET: %s are proven, nothing is damaged; go on with the next volume" % size_text(look.proven))
        print("if there is none: ferry bundle --resend %s" % shown(request))
    else:
        print("NOT WHOLE: %d problem(s), %s proven" % (len(problems), size_text(look.proven)))
        if look.wanted:
            print("to ask for it again: ferry bundle --resend %s" % shown(request))
