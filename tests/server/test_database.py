"""Databases as stores: migrations, quotas of several servers, databases down, slow, full or locked."""

import contextlib
import logging
import os
import signal
import sqlite3
import stat
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import store_harness
from hypothesis import given, settings
from hypothesis import strategies as st
from postgresql_harness import PASSWORD
from serverharness import POD, RUN
from sqlalchemy import text

from resultsfw.errors import InputError
from resultsfw.server import database_schema, sqlite
from resultsfw.server import postgresql as postgresql_module
from resultsfw.server.refusals import RefusalError
from resultsfw.server.store import AttemptKey
from resultsfw.server.stores import open_store

ATTEMPT = AttemptKey("default", RUN, 0)
SECRET = b"SECRET value"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def place(request, tmp_path):
    if request.param == "sqlite":
        return store_harness.SQLite(tmp_path)
    return store_harness.PostgreSQL(request.getfixturevalue("postgresql"))


@pytest.fixture
def sqlite_place(tmp_path):
    return store_harness.SQLite(tmp_path)


@pytest.fixture
def postgresql_place(postgresql):
    return store_harness.PostgreSQL(postgresql)


@pytest.fixture
def opened():
    """Opens a store, and closes it after the test."""
    with contextlib.ExitStack() as stack:
        yield lambda place, **more: stack.enter_context(contextlib.closing(place.open(**more)))


@pytest.fixture(autouse=True)
def logged(caplog):
    """What the test logged at any level: never a value or a password."""
    caplog.set_level(logging.DEBUG, "resultsfw")
    yield caplog
    assert "SECRET" not in caplog.text


def assert_unavailable(call, *args):
    """A call is refused so that the client tries again, and learns nothing about the store."""
    with pytest.raises(RefusalError) as refused:
        call(*args)
    assert (refused.value.code, refused.value.headers) == ("Unavailable", {"Retry-After": "1"})
    assert refused.value.message == "the store cannot be reached or written now; see the server's log"


# The tables.


def test_the_migrations_make_the_tables_that_the_code_uses(place, opened):
    results = opened(place)
    results.put(ATTEMPT, POD, b"x" * 128, "n" * 253)
    tables = (database_schema.DELIVERIES, database_schema.USAGE)
    with results._database._engine.connect() as connection:
        for table in tables:
            found = {column["name"] for column in database_schema.inspect(connection).get_columns(table.name)}
            assert found == set(table.columns.keys())


def test_servers_that_start_at_once_migrate_once(place, monkeypatch):
    calls = []

    def counted(connection):
        calls.append(1)
        database_schema._create_tables(connection)

    monkeypatch.setattr(database_schema, "MIGRATIONS", (counted,))
    with ThreadPoolExecutor(4) as threads:
        stores = list(threads.map(lambda _: place.open(), range(4)))
    for results in stores:
        results.probe()
        results.close()
    assert (len(calls), place.sql("SELECT version FROM resultsfw_schema")) == (1, [(1,)])


def add_column(connection):
    connection.execute(text("ALTER TABLE resultsfw_usage ADD COLUMN note INTEGER"))


def test_a_migration_changes_all_or_nothing_and_keeps_the_data(place, opened, monkeypatch):
    first = opened(place)
    first.put(ATTEMPT, POD, b"kept")
    done = database_schema.MIGRATIONS

    def fail(connection):
        add_column(connection)
        raise ZeroDivisionError

    monkeypatch.setattr(database_schema, "MIGRATIONS", (*done, fail))
    with pytest.raises(ZeroDivisionError):
        place.open()
    assert place.sql("SELECT version FROM resultsfw_schema") == [(1,)]
    monkeypatch.setattr(database_schema, "MIGRATIONS", (*done, add_column))
    second = opened(place)
    assert place.sql("SELECT version, note FROM resultsfw_schema, resultsfw_usage") == [(2, None)]
    assert second.get(ATTEMPT, POD, most=9)[0] == first.get(ATTEMPT, POD, most=9)[0] == b"kept"
    monkeypatch.setattr(database_schema, "MIGRATIONS", done)
    with pytest.raises(InputError, match=r"of version 2, and this server knows versions up to 1"):
        place.open()


# Quotas.


def test_the_quota_holds_for_servers_that_share_a_database(place, opened):
    servers = [opened(place, quota=10 * (8192 + 100)) for _ in range(3)]

    def deliver(number):
        outcome = "Unavailable"  # while others write to the file for too long
        while outcome == "Unavailable":
            try:
                servers[number % 3].put(ATTEMPT, f"pod-{number}", b"x" * 100)
                outcome = "stored"
            except RefusalError as error:
                outcome = error.code
        return outcome

    with ThreadPoolExecutor(6) as threads:
        outcomes = list(threads.map(deliver, range(24)))
    assert sorted(outcomes) == ["QuotaExceeded"] * 14 + ["stored"] * 10
    assert len(place.left()) == 10
    assert servers[0].usage.largest(9) == [("default", 10 * (8192 + 100))]


PODS = st.tuples(st.sampled_from("ab"), st.sampled_from("rs"), st.sampled_from("pqx"))
STEPS = st.lists(
    st.tuples(PODS, st.sampled_from(["put", "remove", "sweep"]), st.integers(0, 9000)), max_size=12
)


@given(STEPS)
@settings(max_examples=20)
def test_the_usage_is_that_of_what_is_stored(tmp_path_factory, steps):
    place = store_harness.SQLite(tmp_path_factory.mktemp("usage"))
    with contextlib.closing(place.open(quota=40_000)) as results:
        for (namespace, run, pod), do, size in steps:
            with contextlib.suppress(RefusalError):
                if do == "put":
                    results.put(AttemptKey(namespace, run, 0), pod, b"x" * size)
                elif do == "remove":
                    results.remove(AttemptKey(namespace, run, 0))
                else:
                    results.sweep(size - 4500)
        counted = sorted(results.usage.largest(9))
        assert all(0 < stored <= 40_000 for _, stored in counted)
        results.recount()
        assert sorted(results.usage.largest(9)) == counted


def test_counts_that_do_not_match_are_corrected(place, opened):
    results = opened(place)
    for namespace in ("a", "b", "c"):
        results.put(AttemptKey(namespace, RUN, 0), POD, b"x")
    right = sorted(results.usage.largest(9))
    place.sql("UPDATE resultsfw_usage SET bytes = 5 WHERE namespace = 'a'")
    place.sql("DELETE FROM resultsfw_usage WHERE namespace = 'b'")
    place.sql("INSERT INTO resultsfw_usage (namespace, bytes) VALUES ('gone', 7)")
    results.recount()
    assert sorted(results.usage.largest(9)) == right


def test_a_recount_is_exact_while_others_store_and_remove(place, opened):
    results = opened(place)

    def change(number):
        attempt = AttemptKey("default", f"run-{number}", 0)
        for size in range(8):
            results.put(attempt, f"pod-{number}", b"x" * size)
            if size < 7:
                assert results.remove(attempt) == 1

    with ThreadPoolExecutor(3) as threads:
        changes = [threads.submit(change, number) for number in range(3)]
        while not all(done.done() for done in changes):
            results._database.write(partial(results._recount, "default"))
        for done in changes:
            done.result()
    assert results.usage.largest(2) == [("default", 3 * (8192 + 7))]


# SQLite.


def test_a_new_file_is_its_owners_and_gives_space_back(sqlite_place, opened):
    results = opened(sqlite_place)
    assert stat.S_IMODE(sqlite_place.file.stat().st_mode) == 0o600
    results.put(ATTEMPT, POD, os.urandom(2_000_000))
    results.remove(ATTEMPT)
    results.recount()
    results.close()
    assert sqlite_place.file.stat().st_size < 100_000


def test_a_locked_file_refuses_writes_and_serves_reads(sqlite_place, opened, monkeypatch, logged):
    monkeypatch.setattr(sqlite, "_BUSY_SECONDS", 0.05)
    results = opened(sqlite_place)
    results.put(ATTEMPT, POD, SECRET)
    other = sqlite3.connect(sqlite_place.file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert_unavailable(results.put, ATTEMPT, "another", SECRET)
    assert_unavailable(results.remove, ATTEMPT)
    assert results.get(ATTEMPT, POD, most=99)[0] == SECRET
    assert "store error: database is locked" in logged.text
    other.close()
    assert results.put(ATTEMPT, "another", SECRET)[1]


@pytest.mark.parametrize(
    ("pragma", "why"),
    [
        ("max_page_count = 30", "database or disk is full"),
        ("query_only = ON", "attempt to write a readonly database"),
    ],
)
def test_a_full_or_read_only_file_refuses_writes_and_serves_reads(
    sqlite_place, opened, monkeypatch, logged, *, pragma, why
):
    opened(sqlite_place).put(ATTEMPT, POD, SECRET)
    monkeypatch.setattr(sqlite, "_PRAGMAS", (*sqlite._PRAGMAS, pragma))
    results = opened(sqlite_place)
    counted = results.usage.total
    assert_unavailable(results.put, ATTEMPT, "large", SECRET * 20_000)
    assert why in logged.text
    assert results.get(ATTEMPT, POD, most=99)[0] == SECRET
    assert (results.usage.total, sqlite_place.left()) == (counted, {POD})


def test_what_is_no_database_is_an_input_error(sqlite_place, tmp_path):
    sqlite_place.file.write_text("SECRET value" * 100)
    with pytest.raises(InputError, match="file is not a database"):
        sqlite_place.open()
    for url in (
        f"sqlite://{tmp_path}",
        "sqlite:relative",
        "sqlite://host/x",
        "sqlite:///",
        "sqlite:///proc/1/x",
    ):
        with pytest.raises(InputError, match="--store"):
            open_store(url)


def test_without_a_store_a_local_server_uses_a_file_of_the_user(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert sqlite.default_url() == f"sqlite://{tmp_path}/resultsfw/results.sqlite"
    with contextlib.closing(open_store(sqlite.default_url())) as results:
        results.probe()
    assert stat.S_IMODE((tmp_path / "resultsfw").stat().st_mode) == 0o700
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert sqlite.default_url() == "sqlite:///home/somebody/.local/state/resultsfw/results.sqlite"


# PostgreSQL.


@pytest.mark.slow
def test_closed_connections_are_replaced_before_a_client_notices(postgresql_place, opened):
    results = opened(postgresql_place)
    results.put(ATTEMPT, POD, b"x")
    postgresql_place.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = ?",
        postgresql_place.name,
    )
    assert results.put(ATTEMPT, "another", b"x")[1]


@pytest.mark.slow
def test_a_server_that_is_down_refuses_until_it_is_back(postgresql_place, opened, postgresql):
    results = opened(postgresql_place, quota=100_000)
    results.put(ATTEMPT, POD, SECRET)
    known = results.usage.largest(1), results.usage.total
    postgresql.stop()
    try:
        started_without = opened(postgresql_place)
        for store in (results, started_without):
            assert_unavailable(store.put, ATTEMPT, "another", SECRET)
            assert_unavailable(store.probe)
        assert_unavailable(results.admit, ATTEMPT, "another", 5)
        assert (results.usage.largest(1), results.usage.total) == known
    finally:
        postgresql.start()
    for store in (results, started_without):
        assert store.get(ATTEMPT, POD, most=99)[0] == SECRET
    assert results.put(ATTEMPT, "another", SECRET)[1]


@pytest.mark.slow
def test_a_server_that_does_not_answer_is_not_waited_for(postgresql_place, opened, postgresql, monkeypatch):
    results = opened(postgresql_place)
    results.put(ATTEMPT, POD, b"x")
    monkeypatch.setattr(postgresql_module, "_ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(postgresql_module, "_CONNECT_SECONDS", 2)
    stopped = [*postgresql.backends(postgresql_place.name), postgresql.postmaster]
    for process in stopped:
        os.kill(process, signal.SIGSTOP)
    try:
        assert_unavailable(results.put, ATTEMPT, "another", SECRET)
    finally:
        for process in stopped:
            os.kill(process, signal.SIGCONT)
    assert results.put(ATTEMPT, "another", SECRET)[1]


@pytest.mark.slow
def test_a_lock_of_somebody_else_is_not_waited_for(postgresql_place, opened, postgresql, monkeypatch, logged):
    monkeypatch.setattr(postgresql_module, "_TIMEOUTS", "-c lock_timeout=50ms")
    results = opened(postgresql_place)
    results.put(ATTEMPT, POD, SECRET)
    with postgresql.connect(postgresql_place.name) as other, other.transaction():
        other.execute("SELECT * FROM resultsfw_usage FOR UPDATE")
        assert_unavailable(results.put, ATTEMPT, "another", SECRET)
        assert results.get(ATTEMPT, POD, most=99)[0] == SECRET
        assert results.put(AttemptKey("other", RUN, 0), "p", b"x")[1]  # another namespace does not wait
    assert "lock timeout" in logged.text
    assert postgresql_place.left() == {POD, "p"}


@pytest.mark.slow
def test_a_full_or_read_only_server_refuses_writes_and_serves_reads(postgresql_place, opened, logged):
    results = opened(postgresql_place)
    results.put(ATTEMPT, POD, SECRET)
    postgresql_place.sql(
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'disk is full' "
        "USING ERRCODE = 'disk_full', DETAIL = 'row: ' || encode(NEW.body, 'escape'); END $$"
    )
    postgresql_place.sql(
        "CREATE TRIGGER t BEFORE INSERT ON resultsfw_deliveries FOR EACH ROW EXECUTE FUNCTION fail()"
    )
    assert_unavailable(results.put, ATTEMPT, "another", SECRET)
    assert "store error: disk is full" in logged.text
    postgresql_place.url = postgresql_place.url.replace(
        "options=", "options=-cdefault_transaction_read_only%3Don%20"
    )
    reading = opened(postgresql_place)
    assert_unavailable(reading.put, ATTEMPT, "another", SECRET)
    assert "read-only transaction" in logged.text
    for store in (results, reading):
        assert store.get(ATTEMPT, POD, most=99)[0] == SECRET


@pytest.mark.slow
def test_a_password_is_read_for_each_connection_and_never_shown(postgresql_place, tmp_path, logged):
    file = tmp_path / "password"
    file.write_text("SECRET but wrong")
    with contextlib.closing(open_store(postgresql_place.url, password_file=str(file))) as results:
        assert_unavailable(results.probe)
        assert "password authentication failed for user" in logged.text
        file.unlink()
        assert_unavailable(results.probe)
        assert f"--store-password-file {file}: No such file" in logged.text
        file.write_text(f"{PASSWORD}\n")
        results.probe()


@pytest.mark.slow
def test_a_user_without_the_right_to_make_tables_uses_those_that_exist(postgresql_place, opened, postgresql):
    opened(postgresql_place).put(ATTEMPT, POD, b"x")
    name = postgresql_place.name
    for statement in (
        f"CREATE ROLE user_of_{name} LOGIN PASSWORD '{PASSWORD}'",
        f"GRANT USAGE ON SCHEMA {name} TO user_of_{name}",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {name} TO user_of_{name}",
    ):
        postgresql_place.sql(statement)
    postgresql_place.url = postgresql_place.url.replace("//resultsfw@", f"//user_of_{name}@")
    results = opened(postgresql_place, quota=50_000)
    assert results.put(ATTEMPT, "another", b"x")[1]
    assert results.remove(ATTEMPT) == 2


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:SECRET@host/name",
        "postgresql://user:SECRET%zz@host/name",
        "postgres://:SECRET@host/name",
        "postgresql://user@host/name?password=SECRET",
        "postgresql://a:SECRET@b@host/name",
    ],
)
def test_a_password_in_the_url_is_refused_and_not_repeated(url):
    with pytest.raises(InputError, match="--store-password-file") as refused:
        open_store(url)
    assert "SECRET" not in str(refused.value)


def test_an_invalid_url_or_option_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match=r"invalid URI query parameter"):
        open_store("postgresql://host/name?nonsense=1")
    with pytest.raises(InputError, match=r"postgresql://\.\.\. only"):
        open_store(f"file://{tmp_path}", password_file=os.devnull)


def test_connections_to_other_machines_are_verified_unless_the_operator_says_otherwise(monkeypatch):
    for variable in ("PGSSLMODE", "PGHOST", "PGOPTIONS"):
        monkeypatch.delenv(variable, raising=False)
    mode = lambda url: postgresql_module._settings(url).get("sslmode")  # noqa: E731 - a table
    assert mode("postgresql://db.example/x") == "verify-full"
    assert mode("postgresql://127.0.0.1,db.example/x") == "verify-full"
    assert mode("postgresql://db.example/x?sslmode=require") == "require"
    for local in ("/x", "localhost/x", "[::1]/x", "/x?host=/run/postgresql"):
        assert mode(f"postgresql://{local}") is None
    monkeypatch.setenv("PGHOST", "db.example")
    assert mode("postgresql:///x") == "verify-full"
    monkeypatch.setenv("PGSSLMODE", "verify-ca")
    assert mode("postgresql://db.example/x") is None
    given_options = postgresql_module._settings(
        "postgresql://h/x?options=-csearch_path%3Da&connect_timeout=9"
    )
    assert given_options["options"].startswith("-csearch_path=a -c statement_timeout=")
    assert given_options["connect_timeout"] == "9"


def test_without_psycopg_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    monkeypatch.delitem(sys.modules, "resultsfw.server.postgresql")
    with pytest.raises(InputError, match=r"resultsfw\[results-server-postgresql\]"):
        open_store("postgresql:///x")
