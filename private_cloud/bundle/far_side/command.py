"""Proves a bundle of `ferry bundle`, chunk by chunk, and puts in what was sent again; needs nothing but Python 3.6.

    python3 verify.py                              prove the bundle that this file lies in
    python3 verify.py /mnt/disc --volume 2         prove one volume of a split bundle
    python3 verify.py --assemble /srv/b /mnt/disc  put the volumes together; once for each disc, or for all of them
    python3 verify.py --accept /mnt/stick          put in what was sent again, each chunk proven before and after

What is wrong is named, and written to resend-request.txt, from which `ferry bundle --resend` makes just those pieces.

Exit status: 0 whole; 1 something is damaged, missing, too much, or not signed as asked; 2 could not look;
6 no space; 130 stopped.
"""

import argparse
import errno
import json
import os
import re
import sys
from typing import List, Optional

from private_cloud.bundle.far_side.accept import accept
from private_cloud.bundle.far_side.answer import report
from private_cloud.bundle.far_side.look import Look, find_manifest
from private_cloud.bundle.far_side.names import (
    MANIFEST,
    NO_LOOK,
    NO_SPACE,
    REQUEST,
    STOPPED,
    Refusal,
    fingerprint,
    shown,
)
from private_cloud.bundle.far_side.prove import examine
from private_cloud.bundle.far_side.signature import check_signature


def parse_arguments(argv: Optional[List[str]]) -> argparse.Namespace:
    """Return what the command line asks for."""
    about, _, epilog = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        description=about, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "folders", nargs="*", metavar="FOLDER", help="the bundle; the one this file is in, if not given"
    )
    parser.add_argument(
        "--accept", action="append", default=[], metavar="FOLDER", help="put in what it has of the bundle"
    )
    parser.add_argument("--assemble", metavar="OUT", help="put the volumes in the FOLDERs together in OUT")
    parser.add_argument("--volume", type=int, metavar="N", help="look at this volume only")
    parser.add_argument("--allowed-signers", metavar="FILE", help="check the signature, as ssh-keygen -Y does")
    parser.add_argument("--signer", metavar="WHO", help="who must have signed; any in that file, if not given")
    parser.add_argument("--fingerprint", metavar="HEX", help="what the sender read to you")
    parser.add_argument("--request", default=REQUEST, metavar="FILE", help="where to write what to ask for again")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="chunks at once; 1 is best for a disc")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    options = parser.parse_args(argv)
    if options.accept and (options.assemble or len(options.folders) > 1):
        parser.error("--accept works on one bundle")
    if options.assemble is None and len(options.folders) > 1:
        parser.error("one bundle at a time; --assemble puts several folders together")
    if options.volume is not None and (options.volume < 1 or options.accept or options.assemble):
        parser.error("--volume is for looking at one volume, counted from 1")
    # An empty word, as of a variable that is not set, must not pass for no demand at all.
    if options.signer is not None and (options.allowed_signers is None or not options.signer.strip()):
        parser.error("--signer WHO goes with --allowed-signers FILE")
    return options


def run(options: argparse.Namespace) -> int:
    """Do what was asked for and return the exit status."""
    here = os.path.dirname(os.path.abspath(__file__))
    sources, folders = list(options.accept), options.folders or [here]
    bundle = folders[0]
    if options.assemble is not None:
        bundle, sources = options.assemble, folders
    look = Look(bundle, options.quiet or options.json, options.jobs)
    asked = re.sub("[^0-9a-f]", "", (options.fingerprint or "").lower())
    if options.fingerprint is not None and len(asked) < 32:
        raise Refusal("a fingerprint has 32 digits and letters (0-9, a-f), and this one %d" % len(asked))
    if sources:
        accept(look, sources, asked[:32])
    elif not os.path.isdir(bundle):
        raise Refusal("%s: there is no such folder" % shown(bundle))
    if not look.problems:
        examine(look, options.volume, asked[:32])
        check_signature(look, options.allowed_signers, options.signer or "")
    else:
        look.manifest = find_manifest(Look(bundle, True, 1), {bundle: ""}, "")
        look.digest = look.manifest.digest if look.manifest else ""
    if asked and not look.digest.startswith(asked[:32]):
        look.blame("FINGERPRINT", MANIFEST, "it is %s, and not the one that was read to you" % fingerprint(look.digest))
    report(look, options.json, options.request, options.assemble is not None)
    return look.code


def main(argv: Optional[List[str]] = None) -> int:
    """Run the command line; whatever keeps us from looking is a message, and no traceback."""
    options = parse_arguments(argv)
    try:
        return run(options)
    except Refusal as error:
        message, code = str(error), error.code
    except KeyboardInterrupt:
        message, code = "stopped; the same command goes on from here", STOPPED
    except OSError as error:
        full = error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", -1), errno.EFBIG)
        message, code = "%s: %s" % (shown(str(error.filename or "")), error.strerror), NO_SPACE if full else NO_LOOK
    if options.json:
        print(json.dumps({"whole": False, "exit_code": code, "error": message}, indent=1))
    sys.stderr.write("verify: %s\n" % message)
    return code


if __name__ == "__main__":
    sys.exit(main())
