from __future__ import annotations

import pickle

import pytest

from migration import errors


def family() -> list[type[errors.MigrationError]]:
    return [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.MigrationError)
    ]


@pytest.mark.parametrize("kind", [kind for kind in family() if not issubclass(kind, errors.CommandFailed)])
def test_error_survives_pickling_with_its_remedy(kind: type[errors.MigrationError]) -> None:
    again = pickle.loads(pickle.dumps(kind("what", "do this")))  # noqa: S301  # our own bytes
    assert (type(again), str(again)) == (kind, "what\n  (do this)")


def test_command_failure_survives_pickling_and_shows_the_end_of_stderr() -> None:
    error = errors.CommandFailed(
        ["qemu-img", "convert", "a b"], 1, "\n".join(f"line {n}" for n in range(20)), "free space"
    )
    again = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert str(again) == str(error)
    assert str(error).startswith("qemu-img convert 'a b': exit status 1\nline 10\n")
    assert str(error).endswith("line 19\n  (free space)")


def test_only_what_time_mends_is_transient() -> None:
    assert [kind.__name__ for kind in family() if kind.transient] == ["CloudUnavailable"]
