#!/usr/bin/env bash
# SQLite 3.40.1 by Python 3.11.7's sqlite3: NOT IN does not use the index of a table that it sees through a view.
# A view that is nothing but `SELECT * FROM table` is said to be flattened into the query, so it should cost nothing. But
# `x NOT IN (SELECT id FROM view)` reads the whole table into a list at each execution, where with the table's own name it looks
# each id up in the unique index. The same question as NOT EXISTS uses the index through the view too. A page of results
# that is asked for again and again becomes quadratic. Seen:
#   NOT IN, the table: USING INDEX sqlite_autoindex_entries_1 FOR IN-OPERATOR
#   NOT IN, the view: LIST SUBQUERY 1 / SCAN entries
#   NOT EXISTS, the view: CORRELATED SCALAR SUBQUERY 1 / SEARCH entries USING COVERING INDEX sqlite_autoindex_entries_1 (id=?)
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 - <<'END'
import sqlite3

database = sqlite3.connect("things.db")
database.executescript("""
CREATE TABLE entries (log INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE);
CREATE TABLE receipts (log INTEGER PRIMARY KEY, id BLOB NOT NULL);
CREATE VIEW seen AS SELECT * FROM entries;
""")
QUESTIONS = {
    "NOT IN, the table": "id NOT IN (SELECT id FROM entries)",
    "NOT IN, the view": "id NOT IN (SELECT id FROM seen)",
    "NOT EXISTS, the view": "NOT EXISTS (SELECT 1 FROM seen WHERE seen.id = receipts.id)",
}
plans = {}
for name, question in QUESTIONS.items():
    rows = database.execute(f"EXPLAIN QUERY PLAN SELECT log FROM receipts WHERE {question}").fetchall()
    plans[name] = " / ".join(text for *_, text in rows[1:])
    print(f"{name}: {plans[name]}")
assert "USING INDEX" in plans["NOT IN, the table"]
assert "SCAN entries" in plans["NOT IN, the view"] and "INDEX" not in plans["NOT IN, the view"]
assert "INDEX" in plans["NOT EXISTS, the view"] and "SCAN" not in plans["NOT EXISTS, the view"]
END
