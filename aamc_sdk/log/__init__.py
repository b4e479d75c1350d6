"""The decision log: the rules that all stores share, and the stores ``sqlite`` and ``memory``."""

from aamc_sdk.log.excerpt import Excerpt
from aamc_sdk.log.experience import join
from aamc_sdk.log.group_commit import GroupCommit, carry_out
from aamc_sdk.log.jsonl import Entry, entry_of, line_of
from aamc_sdk.log.ledger_store import MOST_VIEWS, LedgerStore
from aamc_sdk.log.memory import MemoryStore
from aamc_sdk.log.store_urls import open_store
from aamc_sdk.log.rows import ATTEMPT, DECISION, FEEDBACK, Row, StoreOptions, erased, forgotten_as, record_from, user_of
from aamc_sdk.log.rules import Ledger, Write, append, append_feedback
from aamc_sdk.log.sqlite import SqliteOptions, SqliteStore
from aamc_sdk.log.sqlite_file import connect, transaction, write_ahead

__all__ = [
    "ATTEMPT",
    "DECISION",
    "FEEDBACK",
    "MOST_VIEWS",
    "Entry",
    "Excerpt",
    "GroupCommit",
    "Ledger",
    "LedgerStore",
    "MemoryStore",
    "Row",
    "SqliteOptions",
    "SqliteStore",
    "StoreOptions",
    "Write",
    "append",
    "append_feedback",
    "carry_out",
    "connect",
    "entry_of",
    "erased",
    "forgotten_as",
    "join",
    "line_of",
    "open_store",
    "record_from",
    "transaction",
    "user_of",
    "write_ahead",
]
