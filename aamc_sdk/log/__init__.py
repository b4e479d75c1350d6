"""The decision log: the rules that all stores share, and the stores ``sqlite`` and ``memory``.

In reading order:

- ``rows``: an entry as a row, the JSON of a decision, and its compression
- ``writes``: the entries that a write needs, its checks and changes, and many writes in one transaction
- ``row_store``, ``options``: the store contract on rows
- ``memory``, ``sqlite``: the two stores
- ``experience``, ``outcomes``: reading batches for routers, and outcomes as arrays
- ``erasure``: forgetting users and tenants
- ``retention``: dropping the oldest decisions, and the sums that stay
- ``delta_chain``: the deltas of a router's state
- ``jsonl``, ``exports``: import and export
- ``store_urls``: opening a store by its URL
"""

from aamc_sdk.log.delta_chain import deltas_after, extends_chain, replaces_deltas
from aamc_sdk.log.erasure import Erasure, erased_if_forgotten, user_digest
from aamc_sdk.log.experience import Batch, followed, replaced_rows, revised_ids
from aamc_sdk.log.exports import ExportFormat, ExportResult, Selection, still_has
from aamc_sdk.log.jsonl import addition_of, line_of
from aamc_sdk.log.memory import MemoryStore
from aamc_sdk.log.options import Retention, StoreOptions
from aamc_sdk.log.outcomes import ContentReader, OutcomeFields, OutcomeJoin, is_within, outcome_fields, outcomes_of
from aamc_sdk.log.retention.aggregates import aggregate_from, aggregate_key, aggregate_texts, aggregates_of, combined, oldest_key, without_tenant
from aamc_sdk.log.retention.expiry import UNLEARNED, begins_partition, covered_position, is_oldest_expired, renewed_since
from aamc_sdk.log.retention.partitioned_store import PartitionedStore
from aamc_sdk.log.row_store import MAX_SNAPSHOTS, READ_AT_ONCE, ExportedFile, RowStore, read_batches
from aamc_sdk.log.rows.decision_row import DecisionContent, record_from
from aamc_sdk.log.rows.json_text import decode, decode_entry, encode
from aamc_sdk.log.rows.row import ATTEMPT, COLUMNS, DECISION, FEEDBACK, KIND_COLUMNS, Addition, Row, columns_of, feedback_addition, fingerprint_bytes
from aamc_sdk.log.rows.templates import Templates, packed_uncompressed
from aamc_sdk.log.sqlite.file import advice_on, connect, empty_write_ahead, file_identity, transaction, used_bytes, write_ahead
from aamc_sdk.log.sqlite.store import SqliteOptions, SqliteStore
from aamc_sdk.log.store_urls import open_store
from aamc_sdk.log.writes.excerpt import Excerpt, Write
from aamc_sdk.log.writes.group_commit import GroupCommit, run_writes
from aamc_sdk.log.writes.rules import FITTING_CHARACTERS, MAX_NAME_BYTES, append

__all__ = [
    "ATTEMPT",
    "COLUMNS",
    "DECISION",
    "FEEDBACK",
    "FITTING_CHARACTERS",
    "KIND_COLUMNS",
    "MAX_NAME_BYTES",
    "MAX_SNAPSHOTS",
    "READ_AT_ONCE",
    "UNLEARNED",
    "Addition",
    "Batch",
    "ContentReader",
    "DecisionContent",
    "Erasure",
    "Excerpt",
    "ExportFormat",
    "ExportResult",
    "ExportedFile",
    "GroupCommit",
    "MemoryStore",
    "OutcomeFields",
    "OutcomeJoin",
    "PartitionedStore",
    "Retention",
    "Row",
    "RowStore",
    "Selection",
    "SqliteOptions",
    "SqliteStore",
    "StoreOptions",
    "Templates",
    "Write",
    "addition_of",
    "advice_on",
    "aggregate_from",
    "aggregate_key",
    "aggregate_texts",
    "aggregates_of",
    "append",
    "begins_partition",
    "columns_of",
    "combined",
    "connect",
    "covered_position",
    "decode",
    "decode_entry",
    "deltas_after",
    "empty_write_ahead",
    "encode",
    "erased_if_forgotten",
    "extends_chain",
    "feedback_addition",
    "file_identity",
    "fingerprint_bytes",
    "followed",
    "is_oldest_expired",
    "is_within",
    "line_of",
    "oldest_key",
    "open_store",
    "outcome_fields",
    "outcomes_of",
    "packed_uncompressed",
    "read_batches",
    "record_from",
    "renewed_since",
    "replaced_rows",
    "replaces_deltas",
    "revised_ids",
    "run_writes",
    "still_has",
    "transaction",
    "used_bytes",
    "user_digest",
    "without_tenant",
    "write_ahead",
]
