"""The decision log: the rules that all stores share, and the stores ``sqlite`` and ``memory``."""

from aamc_sdk.log.experience import Batch, replaced_rows, revised_ids
from aamc_sdk.log.group_commit import GroupCommit, run_writes
from aamc_sdk.log.jsonl import Entry, entry_of, line_of
from aamc_sdk.log.ledger_store import MAX_SNAPSHOTS, LedgerStore
from aamc_sdk.log.memory import MemoryStore
from aamc_sdk.log.packing import Templates
from aamc_sdk.log.rows import (
    ATTEMPT,
    COLUMNS,
    DECISION,
    FEEDBACK,
    Retention,
    Row,
    StoreOptions,
    columns_of,
    decision_row,
    episode_of,
    erased,
    record_from,
    user_digest,
    user_of,
)
from aamc_sdk.log.rules import Excerpt, Ledger, Write, append, append_feedback
from aamc_sdk.log.sqlite import SqliteOptions, SqliteStore
from aamc_sdk.log.sqlite_file import connect, transaction, write_ahead
from aamc_sdk.log.store_urls import open_store

__all__ = [
    "ATTEMPT",
    "COLUMNS",
    "DECISION",
    "FEEDBACK",
    "MAX_SNAPSHOTS",
    "Batch",
    "Entry",
    "Excerpt",
    "GroupCommit",
    "Ledger",
    "LedgerStore",
    "MemoryStore",
    "Retention",
    "Row",
    "SqliteOptions",
    "SqliteStore",
    "StoreOptions",
    "Templates",
    "Write",
    "append",
    "append_feedback",
    "columns_of",
    "connect",
    "decision_row",
    "entry_of",
    "episode_of",
    "erased",
    "line_of",
    "open_store",
    "record_from",
    "replaced_rows",
    "revised_ids",
    "run_writes",
    "transaction",
    "user_digest",
    "user_of",
    "write_ahead",
]
