#!/usr/bin/env bash
# CPython 3.11.7's sqlite3 (and 3.12, 3.13): a connection that was closed keeps its database locked while one of its cursors lives.
# `Connection.close()` of 3.10 ended the connection's statements; since 3.11 it leaves that to whoever holds the cursors. A cursor
# that has not fetched all its rows keeps the read lock of the closed connection, so others cannot write (in SQLite's default
# journal mode). It need not have a name: a row factory that raises has the cursor as its argument, so the lock lasts for as
# long as anybody keeps the error with its traceback. Seen:
#   closed, and the cursor kept: database is locked
#   closed, and the cursor gone: written
#   closed, and an error from its row factory kept: database is locked
#   closed, and that error gone: written
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 - <<'END'
import sqlite3


def connect():
    return sqlite3.connect("things.db", isolation_level=None, timeout=0)


def write():
    """Say what becomes of a row that another connection adds."""
    other = connect()
    try:
        other.execute("INSERT INTO things VALUES (1)")
    except sqlite3.OperationalError as error:
        return str(error)
    finally:
        other.close()
    return "written"


made = connect()
made.execute("CREATE TABLE things (number INTEGER)")
made.executemany("INSERT INTO things VALUES (?)", [(number,) for number in range(9)])
made.close()

seen = {}
connection = connect()
cursor = connection.execute("SELECT number FROM things")
cursor.fetchone()
connection.close()
seen["the cursor kept"] = write()
del cursor
seen["the cursor gone"] = write()


def refuse(cursor, row):
    raise ValueError("not a row that is wanted")


connection = connect()
connection.row_factory = refuse
kept = None
try:
    connection.execute("SELECT number FROM things").fetchall()
except ValueError as error:
    kept = error
connection.close()
seen["an error from its row factory kept"] = write()
kept = None
seen["that error gone"] = write()

for what, result in seen.items():
    print(f"closed, and {what}: {result}")
locked = "database is locked"
assert list(seen.values()) == [locked, "written", locked, "written"]
END
