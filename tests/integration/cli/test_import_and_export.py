"""`campaignd import` and `export`: files, bad lines, and readers that have gone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.in_process import ONE_OFF, Call, import_lines

CAMPAIGND = Path(sys.executable).with_name("campaignd")


def test_import_and_export(loaded: Call, tmp_path: Path) -> None:
    file = tmp_path / "all.jsonl"
    done = loaded("export", file)
    assert (done.returncode, done.stderr) == (0, "3 campaigns exported\n")
    assert file.read_text() == loaded("export").stdout
    assert [json.loads(line)["campaign"]["id"] for line in file.read_text().splitlines()] == [
        1,
        2,
        3,
    ]
    again = loaded("import", file)
    assert again.stderr == "0 loaded, 3 unchanged, 0 updated, 0 bad\n"

    changed = file.read_text().replace('"once"', '"once only"')
    refused = loaded("import", "-", input=changed)
    assert refused.returncode == 1
    assert "line 1: campaign 1 has the uuid" in refused.stderr
    assert "0 loaded, 2 unchanged, 0 updated, 1 bad" in refused.stderr
    updated = loaded("import", "--update", "-", input=changed)
    assert (updated.returncode, updated.stderr) == (
        0,
        "0 loaded, 2 unchanged, 1 updated, 0 bad\n",
    )
    assert "once only" in loaded("campaigns").stdout


@pytest.mark.parametrize("command", [["export"], ["campaigns", "--json", "-n", "10000"]])
def test_a_reader_that_has_gone(
    call: Call, database_url: str, tmp_path: Path, command: list[str]
) -> None:
    """`campaignd export | head -1` is silent, and ends with the code of a broken pipe."""
    many = import_lines(*((f"campaign {number}", ONE_OFF) for number in range(3000)))
    assert call("import", "-", input=many).returncode == 0
    with subprocess.Popen(
        [CAMPAIGND, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"CAMPAIGND_DATABASE_URL": database_url},
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_import_reports_bad_lines_and_loads_the_others(call: Call) -> None:
    given = (
        import_lines(("a", None)).encode() + b"nope\n\n" + b"x" * 300_000 + b"\n" + b"\xff\n"
        b'{"campaign": {"name": "b", "payload": {"t": "\\u0000"}}}\n'
    ) + import_lines(
        ("c", {"schedule_type": "scheduled", "scheduled_at": "2020-01-01T09:00:00Z"})
    ).encode()
    done = call("import", "-", input=given)
    reported = done.stderr.splitlines()
    assert done.returncode == 1
    assert [line.split(":")[0] for line in reported[:-1]] == [f"line {n}" for n in (2, 4, 5, 6, 7)]
    assert reported[-1] == "1 loaded, 0 unchanged, 0 updated, 5 bad"
    assert "Scheduled time is in the past" in reported[-2]


def test_import_of_a_file_that_is_not_there(call: Call) -> None:
    done = call("import", "/nonexistent/file")
    assert done.returncode == 2
    assert done.stderr == "campaignd: error: /nonexistent/file: No such file or directory\n"


def test_a_file_that_is_one_object_over_several_lines_is_one_campaign(
    call: Call, tmp_path: Path
) -> None:
    """As documents print it. Several such objects are bad lines, as before."""
    text = json.dumps({"campaign": {"name": "Hello"}, "schedule": None}, indent=2)
    file = tmp_path / "one.json"
    file.write_text(text)
    done = call("import", file)
    assert (done.returncode, done.stderr) == (0, "1 loaded, 0 unchanged, 0 updated, 0 bad\n")
    file.write_text(text + "\n" + text)
    assert call("import", file).returncode == 1
