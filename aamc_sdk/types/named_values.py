"""Values of candidates by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from aamc_sdk.types.arithmetic import Floats


class NamedValues(Mapping[str, float]):
    """A row ``[M]`` of an array as a mapping by the M candidates' names, without a copy."""

    __slots__ = ("_names", "_row")

    def __init__(self, names: Sequence[str], row: Floats) -> None:
        self._names = names
        self._row = row

    def __getitem__(self, name: str) -> float:
        try:
            return float(self._row[self._names.index(name)])
        except ValueError:
            raise KeyError(name) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def to_dict(self) -> dict[str, float]:
        """Return the values by name; the mapping's own methods look each name up."""
        return dict(zip(self._names, self._row.tolist(), strict=True))

    def __repr__(self) -> str:
        return repr(self.to_dict())

    def __reduce__(self) -> tuple[type[dict[str, float]], tuple[dict[str, float]]]:
        return dict, (self.to_dict(),)
