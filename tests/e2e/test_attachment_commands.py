"""`datacollect attachments check` and the attachments of `export` and `import`, as an operator runs them."""

import contextlib
import json
import sqlite3
from pathlib import Path

import pytest

from tests.e2e.conftest import Run, Serve, signed_in
from tests.factories import make_config, new_id
from tests.features.attachments.files import a_photo, digest_of


def test_files_are_checked_taken_out_and_taken_in(
    serve: Serve, run: Run, environment: dict[str, str], tmp_path: Path
) -> None:
    config, photos = make_config(), [a_photo(), a_photo()]
    program = config["id"]
    with serve() as hub, signed_in(hub) as admin:
        assert admin.post("/api/apps", json=config).status_code == 200
        for photo in photos:
            answer = admin.post(
                "/api/attachments/upload",
                data={"entityGuid": new_id(), "configId": program},
                files={"file": ("photo.jpg", photo, "image/jpeg")},
            )
            assert answer.status_code == 201
        checked = run("attachments", "check")
        assert checked.stdout == f"ok: {program}: 2 files, {sum(map(len, photos)):,} bytes\n"
    taken = run("export", program, "--out", "out.json", "--attachments", "files")
    assert taken.returncode == 0, taken.stderr
    assert "2 attachments, 2 files" in taken.stderr

    [file] = (Path(environment["DATA_DIR"]) / "attachments").rglob(f"{digest_of(photos[0])}-*")
    file.unlink()
    checked = run("attachments", "check", "--program", program)
    assert checked.returncode == 3
    assert f"WRONG: {program}: 2 files" in checked.stdout
    assert f"missing: {digest_of(photos[0])}: the bytes are gone (attachments " in checked.stdout
    told = run("attachments", "check", "--json")
    assert (told.returncode, json.loads(told.stdout)["ok"]) == (3, False)
    assert run("attachments", "check", "--program", "nobody").returncode == 1

    cut = run("export", program, "--out", "rest.json", "--attachments", "rest")
    assert cut.returncode == 1 and "--skip-missing" in cut.stderr
    rest = run("export", program, "--out", "rest.json", "--attachments", "rest", "--skip-missing")
    assert rest.returncode == 3
    assert "1 attachment, " in rest.stderr and ": The bytes of this attachment are missing." in rest.stderr
    assert (tmp_path / "rest" / "manifest.ndjson").exists()
    assert run("export", program, "--out", "rest.json", "--skip-missing").returncode == 2

    copied = run("import", "out.json", "--as", "copy", "--attachments", "files")
    assert copied.returncode == 0, copied.stderr
    assert "copy: 2 attachments" in copied.stdout
    again = run("attachments", "import", "files", "--program", "copy")
    assert "copy: 0 attachments of 0 bytes; 2 were there" in again.stdout
    assert run("attachments", "check", "--program", "copy", "--deep").returncode == 0
    assert (tmp_path / "files" / "manifest.ndjson").exists()

    manifest = tmp_path / "files" / "manifest.ndjson"
    whole = manifest.read_text()
    told_first = json.loads(whole.splitlines()[1])
    manifest.write_text(whole.replace(told_first["entityGuid"], new_id(), 1))
    another = run("attachments", "import", "files", "--program", "copy")
    assert (another.returncode, "; 1 were there" in another.stdout) == (1, True)
    assert f"Left out: Attachment {told_first['guid']} is here, and is another one." in another.stderr
    manifest.write_text(whole)

    refused = run("attachments", "import", "files", "--program", "nobody")
    assert (refused.returncode, refused.stderr) == (1, "datacollect: There is no program nobody.\n")
    assert not (Path(environment["DATA_DIR"]) / "attachments" / "nobody").exists()


def test_files_that_a_purge_is_deleting_are_no_strangers(run: Run, environment: dict[str, str]) -> None:
    folder = Path(environment["DATA_DIR"])
    assert run("migrate").returncode == 0
    shelf = folder / "attachments" / "camp" / "ab"
    shelf.mkdir(parents=True)
    (shelf / f"ab{'0' * 62}-{'0' * 16}").touch()
    assert "belongs to no program" in run("attachments", "check").stdout
    with contextlib.closing(sqlite3.connect(folder / "hub.sqlite3")) as database, database:
        database.execute("INSERT INTO purges (tenant_id, begun_ms) VALUES ('camp', 0)")
    checked = run("attachments", "check")
    assert (checked.returncode, checked.stdout) == (0, "")


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ({"ATTACHMENTS_STORE": "s3"}, "S3_BUCKET must be set"),
        ({"ATTACHMENTS_STORE": "s3", "S3_BUCKET": "b", "S3_ENDPOINT": "http://10.0.0.1"}, "must be an https URL"),
        ({"ATTACHMENTS_STORE": "s3", "S3_BUCKET": "b", "S3_ACCESS_KEY_ID": "k"}, "go together"),
        ({"ATTACHMENTS_STORE": "memory", "NODE_ENV": "production"}, "is for tests"),
    ],
)
def test_storage_that_is_not_named_whole_is_refused(run: Run, more: dict[str, str], line: str) -> None:
    ended = run("serve", **more)
    assert ended.returncode == 1
    assert line in ended.stderr
