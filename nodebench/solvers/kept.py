"""What is dear to make for a field, kept for the latest few fields."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from torch import nn

T = TypeVar("T")

# Fields at once; a model that makes a new one at each forward pass must not fill the memory with them.
FIELDS = 8


class Kept(Generic[T]):
    """Objects by field and key. A field is held as long as what was made for it, since that refers to it."""

    def __init__(self) -> None:
        self._of: OrderedDict[int, tuple[nn.Module, dict[Hashable, T]]] = OrderedDict()
        self.strangers = 0  # fields in a row that were not known

    def get(self, field: nn.Module, key: Hashable, make: Callable[[], T]) -> T:
        """What was made for a field under a key; made now if it was not."""
        self.strangers = 0 if id(field) in self._of else self.strangers + 1
        if id(field) not in self._of:
            self._of[id(field)] = field, {}
            if len(self._of) > FIELDS:
                self._of.popitem(last=False)
        self._of.move_to_end(id(field))
        of_field = self._of[id(field)][1]
        if key not in of_field:
            of_field[key] = make()
        return of_field[key]
