"""LRU cache of expensive per-field objects."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from torch import nn

T = TypeVar("T")

# Maximum number of fields: a model that creates a new field in each forward pass must not fill the memory.
FIELDS = 8


class FieldCache(Generic[T]):
    """Cache of objects by field and key. A field stays alive with its objects, because they refer to it."""

    def __init__(self) -> None:
        self._of: OrderedDict[int, tuple[nn.Module, dict[Hashable, T]]] = OrderedDict()
        self.consecutive_misses = 0  # consecutive lookups of new fields

    def get(self, field: nn.Module, key: Hashable, make: Callable[[], T]) -> T:
        """Return the object of a field and key; create it with ``make`` if it is missing."""
        self.consecutive_misses = 0 if id(field) in self._of else self.consecutive_misses + 1
        if id(field) not in self._of:
            self._of[id(field)] = field, {}
            if len(self._of) > FIELDS:
                self._of.popitem(last=False)
        self._of.move_to_end(id(field))
        of_field = self._of[id(field)][1]
        if key not in of_field:
            of_field[key] = make()
        return of_field[key]
