#!/usr/bin/env bash
# SQLite 3.40.1 by Python 3.11.7's sqlite3: a backup in steps may never end while somebody else writes.
# `Connection.backup(pages=N)` copies N pages at a time, so that a busy database can be backed up with a progress line. But each
# commit by another connection makes it begin anew, without a word: the progress callback's `remaining` goes up again. What
# keeps it from that is a read transaction on the source connection itself, which neither manual names. Seen:
#   as it comes: began anew 39 times in 400 steps, and did not end
#   within a read transaction of its own: 63 steps, began anew 0 times
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 - <<'END'
import sqlite3

PAGES, MOST_STEPS, EVERY = 64, 400, 10
source = sqlite3.connect("source.db", isolation_level=None)
source.execute("PRAGMA journal_mode = WAL")
source.execute("CREATE TABLE things (body BLOB)")
source.execute("BEGIN")
source.executemany("INSERT INTO things VALUES (?)", [(bytes(4000),)] * 4000)
source.execute("COMMIT")
writer = sqlite3.connect("source.db", isolation_level=None)


class TooLong(Exception):
    pass


def backup(target):
    """Copy with a commit by another connection at every tenth step; return the steps and how often it began anew."""
    left, anew, steps = [], 0, 0

    def progress(_status, remaining, _total):
        nonlocal anew, steps
        steps += 1
        anew += bool(left) and remaining > left[-1]
        left.append(remaining)
        if steps % EVERY == 0:
            writer.execute("INSERT INTO things VALUES (?)", (bytes(10),))
        if steps >= MOST_STEPS:
            raise TooLong

    try:
        with sqlite3.connect(target) as copy:
            source.backup(copy, pages=PAGES, progress=progress)
    except TooLong:
        return steps, anew, False
    return steps, anew, True


steps, anew, ended = backup("first.db")
print(f"as it comes: began anew {anew} times in {steps} steps, and {'ended' if ended else 'did not end'}")
assert not ended and anew > 10
source.execute("BEGIN")
source.execute("SELECT count(*) FROM things").fetchone()
steps, anew, ended = backup("second.db")
source.execute("COMMIT")
print(f"within a read transaction of its own: {steps} steps, began anew {anew} times")
assert ended and anew == 0
END
