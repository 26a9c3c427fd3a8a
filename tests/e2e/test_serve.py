import contextlib
import json
import signal
import socket
import sqlite3
import subprocess
from pathlib import Path

import httpx2
import pytest

from tests.e2e.conftest import Run, Serve, command, serving
from tests.processes import PATIENCE_SECONDS, free_port, listens, wait_until


@pytest.fixture
def serve_anew(tmp_path: Path, environment: dict[str, str]) -> Serve:
    """Started anew, as it is outside of tests, where a process of its own, what it starts, or how it ends is tried."""
    return lambda **more: serving(tmp_path, environment | more)


@pytest.mark.parametrize(
    ("without", "more", "text"),
    [
        (("ADMIN_EMAIL",), {}, "Initial admin credentials must be set: ADMIN_EMAIL and ADMIN_PASSWORD"),
        (("JWT_SECRET",), {}, "JWT_SECRET must be set"),
        ((), {"JWT_SECRET": "short"}, "JWT_SECRET must be at least 32 characters long"),
        ((), {"CORS_ORIGINS": "*", "NODE_ENV": "production"}, "CORS_ORIGINS=* is not allowed in production."),
        ((), {"ADMIN_PASSWORD": "weak"}, "ADMIN_PASSWORD does not meet strength requirements: Password must be"),
        ((), {"DATABASE_URL": "postgresql://u:hidden-word@127.0.0.1:1/x"}, "The database cannot be reached"),
        ((), {"DATABASE_URL": "mysql://127.0.0.1/x"}, "DATABASE_URL must begin with postgresql://"),
        ((), {"DATA_DIR": "/proc/nowhere"}, "DATA_DIR /proc/nowhere cannot be written"),
        ((), {"WEB_CONCURRENCY": "2"}, "SQLite serves from one process"),
        ((), {"TRUST_PROXY": "everyone"}, "TRUST_PROXY: 'everyone' is neither"),
        ((), {"SYNC_SERVER_PORT": "http"}, "SYNC_SERVER_PORT"),
        ((), {"SMS_GATEWAY_URL": "gateway.example"}, "SMS_GATEWAY_URL must be an absolute http or https URL"),
        (
            (),
            {"ATTACHMENTS_STORE": "s3", "S3_BUCKET": "b", "S3_CA_FILE": "/nowhere.pem"},
            "S3_CA_FILE /nowhere.pem cannot be read",
        ),
        (
            (),
            {"ATTACHMENTS_STORE": "s3", "S3_BUCKET": "b", "S3_CA_FILE": __file__},
            "S3_CA_FILE cannot be read as certificates (PEM)",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line_with_exit_code_1(
    run: Run, without: tuple[str, ...], more: dict[str, str], text: str
) -> None:
    ended = run("serve", "--port", "0", without=without, **more)
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"datacollect: {text}")
    assert ended.stderr.count("\n") == 1
    assert "Traceback" not in ended.stdout + ended.stderr
    assert "hidden-word" not in ended.stdout + ended.stderr


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (
            b"no database " * 100,
            "hub.sqlite3 in DATA_DIR cannot be used (sqlite3.DatabaseError: file is not a database)",
        ),
        (
            "CREATE TABLE users (id)",
            "The tables cannot be made or changed (sqlite3.OperationalError: table users already",
        ),
        (
            "CREATE TABLE alembic_version (version_num TEXT); INSERT INTO alembic_version VALUES ('9999')",
            "The database has schema 9999, which this release does not know",
        ),
    ],
)
def test_a_database_that_is_not_the_hubs_is_left_as_it_is(
    run: Run, environment: dict[str, str], found: bytes | str, text: str
) -> None:
    folder = Path(environment["DATA_DIR"])
    folder.mkdir()
    file = folder / "hub.sqlite3"
    if isinstance(found, bytes):
        file.write_bytes(found)
    else:
        with contextlib.closing(sqlite3.connect(file)) as database:
            database.executescript(found)
    ended = run("serve", "--port", "0")
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"datacollect: {text}")
    assert ended.stderr.count("\n") == 1
    if isinstance(found, str):
        with contextlib.closing(sqlite3.connect(file)) as database:
            assert len(database.execute("SELECT name FROM sqlite_schema").fetchall()) == 1


def test_an_env_file_that_is_no_text_is_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"\xff\xfe\x00")
    assert run("serve").stderr == "datacollect: .env cannot be read as UTF-8 text. Correct it, or remove it.\n"


def test_a_port_in_use_is_named(run: Run) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        ended = run("serve", "--host", "127.0.0.1", "--port", str(port))
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"datacollect: Cannot listen on 127.0.0.1:{port} (Address already in use).")


def test_a_second_hub_on_the_same_data_is_refused_and_the_first_goes_on(run: Run, serve: Serve) -> None:
    with serve() as first:
        ended = run("serve", "--host", "127.0.0.1", "--port", str(free_port()))
        assert ended.returncode == 1
        assert ended.stderr.startswith("datacollect: Another hub already serves from ")
        assert httpx2.get(f"{first.url}/health").status_code == 200
        assert first.stop() == 0
    with serve() as second:
        assert httpx2.get(f"{second.url}/health").status_code == 200


def test_the_administrator_exists_when_the_port_opens(serve: Serve) -> None:
    with serve() as hub:
        credentials = {"email": "admin@hub.test", "password": "Correct-Horse-7"}
        answer = httpx2.post(f"{hub.url}/api/users/login", json=credentials)
        assert answer.status_code == 200
        assert answer.json()["token"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_stops_an_idle_hub_with_exit_code_0(serve: Serve, number: signal.Signals) -> None:
    with serve() as hub, httpx2.Client(base_url=hub.url) as client:
        assert client.get("/health").status_code == 200  # its connection stays open, idle
        assert hub.stop(number) == 0


def test_a_signal_stops_a_hub_that_is_not_ready_yet(tmp_path: Path, environment: dict[str, str]) -> None:
    data = tmp_path / "data"
    data.mkdir()
    with contextlib.closing(sqlite3.connect(data / "hub.sqlite3")) as database:
        database.execute("BEGIN EXCLUSIVE")
        with subprocess.Popen(command("serve", "--port", "0"), cwd=tmp_path, env=environment) as hub:
            wait_until((data / "serve.lock").exists)
            hub.send_signal(signal.SIGTERM)
            assert hub.wait(PATIENCE_SECONDS) == 0


_NOT_ASKED_FOR = {
    # The engine of migrations, and what it and structlog would bring along.
    *("alembic", "mako", "pygments", "rich"),
    # For files in S3, mail, forms, files, QR codes, searches by a pattern, and the API description in YAML.
    *("obstore", "aiosmtplib", "jsonschema_rs", "puremagic", "segno", "re2", "yaml"),
    # Parts of libraries, and of the hub, for what it never does while it serves.
    *("sqlalchemy.orm", "watchfiles", "datacollect.cli.user", "datacollect.testing"),
}


def test_a_hub_that_nobody_asks_for_anything_holds_only_what_all_need(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    telling = "import atexit, sys; atexit.register(lambda: print('IMPORTED', *sys.modules)); "

    def start(port: int, log: Path, environment: dict[str, str]) -> "subprocess.Popen[str]":
        python, option, code, *arguments = command("serve", "--host", "127.0.0.1", "--port", str(port))
        with log.open("w") as written:
            return subprocess.Popen(
                [python, option, telling + code, *arguments], env=environment, stdout=written, text=True
            )

    # The first start, with all migrations to be run.
    with serving(tmp_path, environment, start) as hub:
        assert hub.stop(signal.SIGTERM) == 0
    log = next(tmp_path.glob("serve-*.log")).read_text()
    (imported,) = [line.split()[1:] for line in log.splitlines() if line.startswith("IMPORTED")]
    assert "datacollect.app" in imported
    assert _NOT_ASKED_FOR & set(imported) == set()


def test_a_request_in_flight_is_finished_before_the_hub_stops(serve: Serve) -> None:
    body = json.dumps({"email": "admin@hub.test", "password": "Correct-Horse-7"}).encode()
    head = f"POST /api/users/login HTTP/1.1\r\nHost: hub\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with serve() as hub, socket.create_connection(("127.0.0.1", hub.port), timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(head + body[:-1])
        # An answer to a later connection shows that the loop has been round since these bytes arrived.
        assert httpx2.get(f"{hub.url}/health").status_code == 200
        hub.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not listens(hub.port))
        assert hub.process.poll() is None
        connection.sendall(body[-1:])
        answer = connection.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert hub.process.wait(PATIENCE_SECONDS) == 0


def test_the_log_is_json_without_secrets_or_query_values(serve: Serve, tmp_path: Path) -> None:
    with serve() as hub:
        httpx2.get(
            f"{hub.url}/api/entities?configId=t1&secret=query-word", headers={"Authorization": "Bearer token-word"}
        )
        httpx2.get(f"{hub.url}/person@hub.test")
        httpx2.post(f"{hub.url}/api/users/login", json={"email": "person@hub.test", "password": "body-word"})
        hub.stop()
        log = (tmp_path / f"serve-{hub.port}.log").read_text()
    lines = []
    for line in log.splitlines():
        with contextlib.suppress(ValueError):
            lines.append(json.loads(line))
    finished = [line for line in lines if line["event"] == "request.finished"]
    assert [(line["method"], line["route"], line["status"]) for line in finished] == [
        ("GET", "/api/entities", 401),
        ("GET", "unmatched", 404),
        ("POST", "/api/users/login", 401),
    ]
    assert {line["name"] for line in lines} == {"datacollect-hub"}
    assert all(line["request_id"] and line["duration_ms"] >= 0 for line in finished)
    assert not any(
        word in log for word in ("query-word", "token-word", "body-word", "person@hub.test", "Correct-Horse")
    )


def test_several_processes_share_one_port_on_postgres(serve_anew: Serve, empty_postgres_url: str) -> None:
    with serve_anew(DATABASE_URL=empty_postgres_url, WEB_CONCURRENCY="2") as hub:
        with httpx2.Client(base_url=hub.url) as client:
            assert client.get("/health").json()["database"] == "connected"
        assert hub.stop() == 0
