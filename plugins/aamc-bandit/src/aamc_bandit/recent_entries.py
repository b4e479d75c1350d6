"""A mapping that keeps the most recently mentioned entries up to a limit, and knows which of them changed."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Generic, TypeVar

V = TypeVar("V")
LATEST, ALTERED, ALL = "latest", "altered", "all"
"""Keys of a delta: entries that were mentioned, in the order of their last mention; others that changed; or all entries."""


class RecentEntries(OrderedDict[str, V], Generic[V]):
    """Entries by name, the least recently mentioned first; of more than the limit, those go first.

    A copy follows by :meth:`delta` and :meth:`apply_delta`: it has the same entries in the same order afterwards. It drops entries by the limit
    itself: whichever were mentioned in between, the last ones up to the limit stay.

    Args:
        limit: Maximum number of entries.
        entries: The entries to begin with. Until :meth:`mark_unchanged`, :meth:`delta` returns all.
    """

    def __init__(self, limit: int = sys.maxsize, entries: Iterable[tuple[str, V]] = ()) -> None:
        super().__init__(entries)
        self._limit = limit
        self._mentioned: dict[str, bool] = {}  # whether it was mentioned, not only altered; the latest last
        self._all_changed = True
        self._drop_oldest()

    def mention(self, name: str, make: Callable[[], V]) -> V:
        """Return an entry as the most recently mentioned one; a new one is made. It may be altered until the next call of :meth:`delta`."""
        entry = self.get(name)
        if entry is None:
            entry = make()
            self[name] = entry
            self._drop_oldest()
        else:
            self.move_to_end(name)
        self._mentioned.pop(name, None)
        self._mentioned[name] = True
        return entry

    def put(self, name: str, entry: V) -> None:
        """Set an entry as the most recently mentioned one."""
        self.pop(name, None)
        self.mention(name, lambda: entry)

    def altered(self, name: str) -> None:
        """Note that an entry was altered without a mention."""
        self._mentioned.setdefault(name, False)

    def without(self, is_dropped: Callable[[str], bool]) -> RecentEntries[V]:
        """Return the entries without those of some names, in the same order; :meth:`delta` returns all of them."""
        return RecentEntries(self._limit, ((name, entry) for name, entry in self.items() if not is_dropped(name)))

    def mark_unchanged(self) -> None:
        """Take the present entries as those that :meth:`delta` starts from."""
        self._mentioned, self._all_changed = {}, False

    def delta(self) -> dict[str, dict[str, V]]:
        """Return the changes since the last call, or :meth:`mark_unchanged`; the entries themselves, no copies."""
        if self._all_changed:
            found = {ALL: dict(self)}
        else:
            found = {
                kind: {name: self[name] for name, mentioned in self._mentioned.items() if mentioned is latest}
                for kind, latest in ((LATEST, True), (ALTERED, False))
            }
        self.mark_unchanged()
        return found

    def apply_delta(self, delta: Mapping[str, Mapping[str, V]]) -> None:
        """Apply a delta, its entries decoded; raises KeyError where it is incomplete, and then changes nothing."""
        if ALL in delta:
            self.clear()
            self.update(delta[ALL])
        else:
            latest, altered = delta[LATEST], delta[ALTERED]
            self.update(altered)
            for name, entry in latest.items():
                self[name] = entry
                self.move_to_end(name)
        self._drop_oldest()
        self.mark_unchanged()

    def _drop_oldest(self) -> None:
        while len(self) > self._limit:
            name, _ = self.popitem(last=False)
            self._mentioned.pop(name, None)
