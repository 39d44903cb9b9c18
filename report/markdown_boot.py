"""The part of a report that shows the boot test: the outcome, what it rests on, and the end of the console."""

from __future__ import annotations

from private_cloud.boot_in_workspace import BootProof
from report.markdown_text import cell, fenced
from report.shown_text import shown

MOST_LINES = 40


def render_boot_outcome(proof: BootProof | None, unknown: str) -> str:
    """Return the outcome in a sentence, "" where no test was asked for."""
    if unknown:
        return f"**Boot test: unknown.** {cell(unknown)}"
    if proof is None:
        return ""
    return f"**Boot test on {proof.target}: {cell(proof.summary)}.**"


def render_boot(proof: BootProof) -> list[str]:
    """Return the section as Markdown, in parts."""
    machine = f"{proof.target}, {proof.firmware.upper()}, {'KVM' if proof.kvm else 'emulation'}"
    names = ", ".join(f"`{cell(name)}`" for name in proof.files)
    facts = [
        f"{names} on {machine}: {cell(proof.summary)}, after {proof.seconds:g} s",
        f"decided by: `{cell(proof.evidence)}`" if proof.evidence else "",
        f"mounted: {cell(', '.join(proof.mounted))}" if proof.mounted else "",
        f"not mounted: {cell(', '.join(proof.failed))}" if proof.failed else "",
        f"note: {cell(proof.note)}" if proof.note else "",
        "a serial console was added for the test, in the layer that is thrown away" if proof.added_console else "",
    ]
    last_words = "\n".join(shown(line) for line in proof.last_words[-MOST_LINES:]) or "(nothing)"
    return [
        "## Boot test",
        "\n".join(f"- {fact}" for fact in facts if fact),
        f"The console said last (all of it is in `{proof.console}`):",
        fenced(last_words, "text"),
    ]
