"""A property that is computed once and takes no lock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

T_co = TypeVar("T_co", covariant=True)


class lazy_property(Generic[T_co]):  # noqa: N801  # a decorator, as functools.cached_property is
    """A property that is computed when it is first read and then kept in the object's ``__dict__``. It takes no lock.

    In Python 3.10 and 3.11, ``functools.cached_property`` has one lock for all objects of a class: a child that is forked while another thread
    computes the property of any object waits for that lock forever. Threads that read a lazy property at once may all compute it; they get the
    same value.
    """

    def __init__(self, func: Callable[[Any], T_co]) -> None:
        self.func = func
        self.__doc__ = func.__doc__

    def __get__(self, instance: object, owner: type[Any]) -> T_co:
        if instance is None:
            return self  # type: ignore[return-value]  # of the class, as documentation reads it
        value: T_co = instance.__dict__.setdefault(self.func.__name__, self.func(instance))
        return value
