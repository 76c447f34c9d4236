"""The tables of the file, as steps from one version of its format to the next. Pure data.

A step that has shipped never changes: another form of the tables is another step at the end.
"""

from __future__ import annotations

APPLICATION_ID = 0x746E646D
"""``tndm``, in the file's header: what says that it is ours (https://sqlite.org/fileformat.html, 1.3.17)."""

_ONLY_ADDED = "BEGIN SELECT RAISE(ABORT, 'lines of this table are only ever added'); END"

STEPS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE studies (id TEXT PRIMARY KEY NOT NULL, name TEXT NOT NULL, settings TEXT NOT NULL,"
        " created_at REAL NOT NULL)",
        "CREATE TABLE participants (id TEXT PRIMARY KEY NOT NULL, study_id TEXT NOT NULL, token_hash TEXT NOT NULL,"
        " label TEXT NOT NULL, station TEXT NOT NULL, bot INTEGER NOT NULL, attributes TEXT NOT NULL,"
        " state TEXT NOT NULL, reason TEXT NOT NULL, finished INTEGER NOT NULL, locked INTEGER NOT NULL,"
        " created_at REAL NOT NULL, changed_at REAL NOT NULL)",
        "CREATE INDEX participants_by_study ON participants (study_id)",
        "CREATE TABLE matches (id TEXT PRIMARY KEY NOT NULL, study_id TEXT NOT NULL, seed INTEGER NOT NULL,"
        " settings TEXT NOT NULL, seats TEXT NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL,"
        " created_at REAL NOT NULL, started_at REAL, ended_at REAL, results TEXT NOT NULL)",
        "CREATE INDEX matches_by_study ON matches (study_id, state)",
        # AUTOINCREMENT: a number is never given twice (https://sqlite.org/autoinc.html).
        "CREATE TABLE decisions (number INTEGER PRIMARY KEY AUTOINCREMENT, study_id TEXT NOT NULL, at REAL NOT NULL,"
        " line TEXT NOT NULL)",
        f"CREATE TRIGGER decisions_stay BEFORE UPDATE ON decisions {_ONLY_ADDED}",
        f"CREATE TRIGGER decisions_remain BEFORE DELETE ON decisions {_ONLY_ADDED}",
        'CREATE TABLE audit (number INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, "by" TEXT NOT NULL,'
        ' "action" TEXT NOT NULL, target TEXT NOT NULL, facts TEXT NOT NULL)',
        f"CREATE TRIGGER audit_stays BEFORE UPDATE ON audit {_ONLY_ADDED}",
        f"CREATE TRIGGER audit_remains BEFORE DELETE ON audit {_ONLY_ADDED}",
        "CREATE TABLE accounts (name TEXT PRIMARY KEY NOT NULL, password_hash TEXT NOT NULL, role TEXT NOT NULL,"
        " created_at REAL NOT NULL, changed_at REAL NOT NULL)",
        "CREATE TABLE sessions (token_hash TEXT PRIMARY KEY NOT NULL, account TEXT NOT NULL, created_at REAL NOT NULL,"
        " expires_at REAL NOT NULL, address TEXT NOT NULL)",
        "CREATE TABLE link_uses (link_id TEXT PRIMARY KEY NOT NULL, participant_id TEXT NOT NULL, at REAL NOT NULL)",
        "CREATE TABLE counters (study_id TEXT NOT NULL, name TEXT NOT NULL, value INTEGER NOT NULL,"
        " PRIMARY KEY (study_id, name)) WITHOUT ROWID",
    ),
    (
        "ALTER TABLE participants ADD COLUMN room TEXT NOT NULL DEFAULT '{}'",
        "ALTER TABLE matches ADD COLUMN room TEXT NOT NULL DEFAULT '{}'",
    ),
)
"""``STEPS[n]`` leads from version n to n + 1; a new file begins at 0 and takes them all."""
