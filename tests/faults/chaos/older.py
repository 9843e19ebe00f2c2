"""Makes a store one of the first version again, with all its rows, so that it must be migrated."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from harness.server import ROOT

FIRST = ROOT / "src/store/migrations/0001_sessions_and_statements.sql"


def make_older(database: Path) -> None:
    """Rows and columns that the first version had go into a file made by it; one that is its own stays. No
    server may run."""
    fresh = database.with_name("older.db")
    fresh.unlink(missing_ok=True)
    old = sqlite3.connect(fresh, isolation_level=None)
    old.execute("ATTACH ? AS now", (str(database),))
    records = "SELECT version FROM now._sqlx_migrations"
    if [row[0] for row in old.execute(records)] == [1]:
        old.close()
        fresh.unlink()
        return
    old.executescript(f"PRAGMA journal_mode = WAL; {FIRST.read_text()}")
    schema = old.execute("SELECT sql FROM now.sqlite_schema WHERE name = '_sqlx_migrations'").fetchone()[0]
    old.execute(schema)
    old.execute("INSERT INTO main._sqlx_migrations SELECT * FROM now._sqlx_migrations WHERE version = 1")
    tables = old.execute(
        "SELECT name FROM main.sqlite_schema WHERE type = 'table' AND name NOT LIKE '\\_%' ESCAPE '\\'"
    )
    for (table,) in tables.fetchall():
        copy(old, table)
    for pragma in ("application_id", "user_version"):
        value = old.execute(f"PRAGMA now.{pragma}").fetchone()[0]
        old.execute(f"PRAGMA main.{pragma} = {value}")
    old.close()
    for path in (database, *database.parent.glob(f"{database.name}-*")):
        path.unlink()
    fresh.rename(database)


def copy(old: sqlite3.Connection, table: str) -> None:
    """One table's rows; columns that are gone get what their declaration asks for."""
    wanted = old.execute(f"PRAGMA main.table_info({table})").fetchall()
    there = {row[1] for row in old.execute(f"PRAGMA now.table_info({table})")}
    if not there:
        return
    values = []
    for _, name, declared, needed, default, _ in wanted:
        if name in there:
            values.append(name)
        elif needed and default is None:
            values.append("''" if declared == "TEXT" else "0")
        else:
            values.append("NULL" if default is None else default)
    names = ", ".join(row[1] for row in wanted)
    # A later version makes its own counters.
    own = "WHERE name IN (SELECT name FROM main.server)" if table == "server" else ""
    rows = f"SELECT {', '.join(values)} FROM now.{table} {own}"
    old.execute(f"INSERT OR REPLACE INTO main.{table} ({names}) {rows}")
