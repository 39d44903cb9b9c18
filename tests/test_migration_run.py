from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from migration.errors import CommandFailed, Interrupted, TookTooLong, ToolMissing
from migration.run import find_program, run


def python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


def put_on_path(monkeypatch: pytest.MonkeyPatch, folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def is_alive(pid: int) -> bool:
    """Return whether the process runs, zombies apart."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def wait_until_gone(pid: int) -> bool:
    for _ in range(200):
        if not is_alive(pid):
            return True
        time.sleep(0.05)
    return False


def wait_for_pid(path: Path) -> int:
    for _ in range(200):
        if path.exists() and path.read_text(encoding="utf-8").endswith("\n"):
            return int(path.read_text(encoding="utf-8"))
        time.sleep(0.05)
    raise AssertionError(f"{path.name} was never written")


def test_run_returns_the_output() -> None:
    assert run(["printf", "one\ntwo"]) == "one\ntwo"


def test_run_speaks_one_language(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    assert run(["sh", "-c", 'printf %s "$LC_ALL"']) == "C.UTF-8"


def test_run_gives_the_program_what_it_reads_and_then_an_end() -> None:
    assert run(["cat"], stdin="label: dos\n") == "label: dos\n"
    assert run(["cat"]) == ""


def test_run_feeds_and_reads_more_than_pipes_hold() -> None:
    much = "0123456789" * 100_000
    assert run(["cat"], stdin=much) == much


def test_run_keeps_words_that_a_shell_would_take_apart() -> None:
    assert run(["printf", "%s|", "a b", "$(id)", "*"]) == "a b|$(id)|*|"


@pytest.mark.parametrize("status", [1, 3, 255])
def test_run_raises_with_the_exit_status(status: int) -> None:
    with pytest.raises(CommandFailed) as caught:
        run(["sh", "-c", f"exit {status}"])
    assert caught.value.returncode == status


def test_run_takes_a_listed_exit_status_for_an_answer() -> None:
    assert run(["sh", "-c", "echo different; exit 1"], ok=(0, 1)) == "different\n"


def test_run_raises_when_a_signal_ends_the_program() -> None:
    with pytest.raises(CommandFailed) as caught:
        run(["sh", "-c", "kill -SEGV $$"])
    assert caught.value.returncode == -signal.SIGSEGV


def test_run_shows_the_last_lines_of_stderr() -> None:
    with pytest.raises(CommandFailed) as caught:
        run(["sh", "-c", "seq 100 >&2; exit 1"])
    shown = str(caught.value).splitlines()
    assert shown[-10:] == [str(number) for number in range(91, 101)]
    assert "90" not in shown


def test_run_survives_much_stderr_and_keeps_its_end() -> None:
    with pytest.raises(CommandFailed) as caught:
        run(python("import sys; sys.stderr.write('x' * 5_000_000 + 'the end'); sys.stdout.write('y' * 5_000_000); sys.exit(1)"))  # fmt: skip  # noqa: E501
    assert caught.value.stderr.endswith("xthe end")
    assert len(caught.value.stderr) <= 64 * 1024


def test_run_replaces_bytes_that_are_no_text() -> None:
    lines: list[str] = []
    assert run(["printf", r"\377\376ok\n"], on_line=lines.append) == "\ufffd\ufffdok\n"
    assert lines == ["\ufffd\ufffdok"]
    with pytest.raises(CommandFailed, match="\ufffd"):
        run(["sh", "-c", r"printf '\377' >&2; exit 1"])


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        pytest.param(r"a\nb\n", ["a", "b"], id="newlines"),
        pytest.param(r"(1/100%%)\r(2/100%%)\r", ["(1/100%)", "(2/100%)"], id="carriage-returns"),
        pytest.param(r"a\r\nb\r\n", ["a", "b"], id="both"),
        pytest.param(r"a\n\n\nb\n", ["a", "b"], id="empty-lines"),
        pytest.param(r"a\nlast", ["a", "last"], id="no-end-of-the-last-line"),
        pytest.param("", [], id="nothing"),
    ],
)
def test_run_hands_on_lines(output: str, expected: list[str]) -> None:
    lines: list[str] = []
    run(["printf", output], on_line=lines.append)
    assert lines == expected


def test_run_hands_on_a_line_that_comes_in_pieces() -> None:
    lines: list[str] = []
    run(["sh", "-c", "printf 'first ha'; sleep 0.2; printf 'lf\\nnext\\n'"], on_line=lines.append)
    assert lines == ["first half", "next"]


def test_run_hands_on_lines_while_the_program_runs(tmp_path: Path) -> None:
    # The program ends only once its first line has been seen.
    seen = tmp_path / "seen"
    script = f'echo ready; while [ ! -e "{seen}" ]; do sleep 0.05; done; echo done'
    lines: list[str] = []

    def note(line: str) -> None:
        lines.append(line)
        seen.touch()

    run(["sh", "-c", script], on_line=note, timeout=60)
    assert lines == ["ready", "done"]


def test_run_ends_the_program_and_passes_on_what_a_listener_raises(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"

    def refuse(line: str) -> None:
        raise ZeroDivisionError(line)

    with pytest.raises(ZeroDivisionError, match="hello"):
        run(["sh", "-c", f"echo $$ > {pid_file}; echo hello; exec sleep 60"], on_line=refuse)
    assert not is_alive(wait_for_pid(pid_file))


def test_run_does_not_start_when_it_is_stopped_already(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Interrupted):
        run(["touch", tmp_path / "started"], stop=stop)
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize(
    "script",
    [
        pytest.param("exec sleep 60", id="silent"),
        pytest.param("exec sleep 60 >&-", id="stdout-closed"),
        pytest.param("while :; do echo busy; done", id="talking"),
    ],
)
def test_run_ends_the_program_when_it_is_stopped(tmp_path: Path, script: str) -> None:
    pid_file, stop = tmp_path / "pid", threading.Event()

    def stop_once_it_runs() -> None:
        wait_for_pid(pid_file)
        stop.set()

    stopper = threading.Thread(target=stop_once_it_runs)
    stopper.start()
    with pytest.raises(Interrupted):
        run(["sh", "-c", f"echo $$ > {pid_file}; {script}"], stop=stop)
    stopper.join()
    assert not is_alive(wait_for_pid(pid_file))


@pytest.mark.slow  # the program is given 5 seconds to end by itself
def test_run_kills_a_program_that_will_not_end(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    with pytest.raises(CommandFailed):
        run(["sh", "-c", f"trap '' TERM; echo $$ > {pid_file}; while :; do sleep 0.1; done"], timeout=2)
    assert not is_alive(wait_for_pid(pid_file))


def test_run_ends_a_program_that_takes_too_long(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    with pytest.raises(CommandFailed, match=r"waiting for godot\n\(ended by us after 2 seconds\)"):
        run(["sh", "-c", f"echo $$ > {pid_file}; echo waiting for godot >&2; exec sleep 60"], timeout=2)
    assert not is_alive(wait_for_pid(pid_file))


def test_run_leaves_a_listeners_timeout_alone() -> None:
    def too_late(line: str) -> None:
        raise TimeoutError(line)

    with pytest.raises(TimeoutError, match="hello"):
        run(["echo", "hello"], on_line=too_late, timeout=60)


def test_program_dies_with_us_when_we_are_killed(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    program = "import sys; from migration.run import run; run(['sh', '-c', f'echo $$ > {sys.argv[1]}; exec sleep 60'])"
    with subprocess.Popen([*python(program), str(pid_file)]) as parent:
        child = wait_for_pid(pid_file)
        parent.send_signal(signal.SIGKILL)
    assert wait_until_gone(child)


def test_missing_program_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("migration.run.SYSTEM_FOLDERS", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolMissing, match=r"(?s)mke2fs is not installed.*apt-get install e2fsprogs"):
        run(["mke2fs"])


def test_missing_program_without_a_known_package_points_to_the_doctor() -> None:
    with pytest.raises(ToolMissing, match="ferry doctor"):
        run(["no-such-program-anywhere"])


def test_missing_setpriv_is_an_error_with_a_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("migration.run.SYSTEM_FOLDERS", ())
    put_on_path(monkeypatch, tmp_path, "tool", "exit 0")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolMissing, match=r"(?s)setpriv.*util-linux"):
        run(["tool"])


def test_programs_of_the_administrator_are_found_without_sbin_in_path(monkeypatch: pytest.MonkeyPatch) -> None:
    # Debian gives an ordinary user this PATH, and keeps mke2fs elsewhere.
    monkeypatch.setenv("PATH", "/usr/local/bin:/usr/bin:/bin")
    assert find_program("mke2fs").endswith("sbin/mke2fs")
    assert run(["mke2fs", "-V"]) == ""


def test_path_comes_before_the_administrators_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    put_on_path(monkeypatch, tmp_path, "mke2fs", "echo mine")
    assert run(["mke2fs"]) == "mine\n"


def test_output_is_handed_on_as_it_comes_before_its_line_ends() -> None:
    seen: list[bytes] = []

    def listen(data: bytes) -> None:
        seen.append(data)
        if b"login: " in b"".join(seen):
            raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"):
        run(["sh", "-c", "printf 'host login: '; exec sleep 60"], on_output=listen)


def test_output_that_was_handed_on_is_not_collected() -> None:
    seen: list[bytes] = []
    assert run(["printf", "abc"], on_output=seen.append) == ""
    assert b"".join(seen) == b"abc"


def test_silence_is_handed_on_too() -> None:
    seen: list[bytes] = []
    run(["sleep", "1.2"], on_output=seen.append)
    assert len(seen) >= 2
    assert set(seen) == {b""}


def test_a_program_that_was_given_too_little_time_is_told_from_one_that_failed() -> None:
    with pytest.raises(TookTooLong, match=r"ended by us after 0\.1 seconds"):
        run(["sleep", "60"], timeout=0.1)


def test_program_is_not_told_the_keys_of_the_cloud_and_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "ALIYUN_ACCESS_KEY_SECRET", "PREFECT_API_AUTH_STRING"):
        monkeypatch.setenv(name, "secret-half")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:3128")
    told = run(["env"])
    assert "secret-half" not in told
    assert "https_proxy=http://127.0.0.1:3128" in told
