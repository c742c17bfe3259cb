"""Memory of one training step: live tensor storage, tensors saved by the graph, the process's peak."""

import ctypes
import gc
import os
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class StorageMeter(TorchDispatchMode):
    """Measures live tensor storage exactly: every storage that the dispatcher allocates and frees.

    The meter counts storages, not tensors, so views and aliases count once. The peak is a sum of sizes, not a
    sample: on the CPU it is the same to the byte in each run. The meter does not include memory that never
    passes the dispatcher: temporary buffers of a kernel within one operator, the old storage during a resize,
    and the eight bytes of a Python number that becomes an operand.

    Args:
        existing: tensors of the step that exist before the meter starts: parameters, buffers, optimiser
            state, inputs. A tensor that is not listed is counted from its first use as an argument.
    """

    def __init__(self, existing: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self._sizes: dict[int, int] = {}
        self.live = 0
        self.peak = 0
        self.existing = 0  # bytes of storages that were created outside the meter
        for tensor in existing:
            self._meet(tensor)

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        for tensor in _tensors(args):
            self._meet(tensor)
        for tensor in _tensors(kwargs.values()):
            self._meet(tensor)
        result = func(*args, **kwargs)
        for tensor in _tensors((result,)):
            self._see(tensor)
        return result

    def _meet(self, tensor: Tensor) -> None:
        """Record a tensor that was created outside the meter."""
        before = self.live
        self._see(tensor)
        self.existing += self.live - before

    def _see(self, tensor: Tensor) -> None:
        if tensor.layout is not torch.strided:
            for part in _strided_parts(tensor):
                self._see(part)
            return
        if tensor._is_zerotensor():  # a tangent of forward-mode differentiation that has a size and no memory
            return
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        known = self._sizes.get(key)
        if known == size:
            return
        if known is None:
            # PyTorch keeps the Python object of a storage alive as long as the storage itself.
            weakref.finalize(storage, self._forget, key).atexit = False
        self._sizes[key] = size
        self.live += size - (known or 0)
        self.peak = max(self.peak, self.live)

    def _forget(self, key: int) -> None:
        self.live -= self._sizes.pop(key)


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    """The tensors among the arguments or results of an operator, which nest in lists and tuples only."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)


def _strided_parts(tensor: Tensor) -> list[Tensor]:
    """Return the dense tensors of a sparse tensor; none for layouts that do not expose their storage."""
    if tensor.layout is torch.sparse_coo:
        return [tensor._indices(), tensor._values()]
    if tensor.layout is torch.sparse_csr:
        return [tensor.crow_indices(), tensor.col_indices(), tensor.values()]
    return []


class _Held:
    """A tensor that the graph saved; freed when the graph releases it."""

    __slots__ = ("__weakref__", "tensor")

    def __init__(self, tensor: Tensor) -> None:
        # A leaf is returned unchanged, so that the adjoint finds its parameters. Any other tensor is detached,
        # because a node that references its own output would never be freed.
        self.tensor = tensor if tensor.is_leaf else tensor.detach()


class SavedTensors:
    """Measures what the autograd graph saves, with saved-tensor hooks; each storage counts once."""

    def __init__(self) -> None:
        self._held: weakref.WeakSet[_Held] = weakref.WeakSet()
        self.hooks = torch.autograd.graph.saved_tensors_hooks(self._pack, lambda held: held.tensor)

    def _pack(self, tensor: Tensor) -> _Held:
        held = _Held(tensor)
        self._held.add(held)
        return held

    @property
    def bytes(self) -> int:
        """Bytes held now."""
        storages = (held.tensor.untyped_storage() for held in self._held)
        return sum({storage._cdata: storage.nbytes() for storage in storages}.values())


class ProcessPeak:
    """Growth of the process's peak resident size while the context is open, in bytes.

    Reads ``VmHWM`` after resetting it through ``/proc/self/clear_refs``; never ``ru_maxrss``, which a
    child inherits from its parent. Free memory of the C allocator is first returned to the system;
    otherwise growth into it would not be measured. Memory that is released during the
    measurement lowers the peak: what other threads free, and pages of files that the kernel takes back. If the
    system has no resettable ``VmHWM``, ``bytes`` is None and ``reason`` has the message.

    Source: proc_pid_clear_refs(5), proc_pid_status(5).
    """

    bytes: int | None = None
    _start: int | None = None
    reason: str | None = None

    def __enter__(self) -> "ProcessPeak":
        gc.collect()
        _trim_heap()
        try:
            Path("/proc/self/clear_refs").write_text("5")
            self._start = _vm_hwm()
        except (OSError, KeyError):
            self.reason = "this system has no resettable VmHWM in /proc"
        return self

    def __exit__(self, *_: object) -> None:
        if self._start is not None:
            self.bytes = _vm_hwm() - self._start


def process_peak_of(size: int) -> ProcessPeak:
    """Measure the allocation of a tensor of ``size`` bytes, to check that the meter works on this system."""
    with ProcessPeak() as peak:
        torch.ones(size, dtype=torch.uint8)
    return peak


def _vm_hwm() -> int:
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["VmHWM"].split()[0]) * 1024


def _trim_heap() -> None:
    """Give free heap pages back to the system, where the C library can (glibc)."""
    if os.name == "posix" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)


class MemoryMeter:
    """Measures all memory metrics of one training step, which calls ``mark`` after each of its parts.

    Args:
        existing: see ``StorageMeter``.
        device: the device of the step; on CUDA the allocator's peak is measured too.
        unseen: metrics that cannot be measured here, with the reason; their meters are not started.
    """

    def __init__(
        self, existing: Iterable[Tensor], device: torch.device, unseen: Mapping[str, str] | None = None
    ) -> None:
        self._device = device
        self._unseen = unseen or {}
        self._storages = StorageMeter(existing)
        self._saved = SavedTensors()
        self._process = ProcessPeak()
        self._saved_bytes: int | None = None

    def __enter__(self) -> "MemoryMeter":
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        self._process.__enter__()
        if "tensor_peak_bytes" not in self._unseen:
            self._storages.__enter__()
        if "saved_bytes" not in self._unseen:
            self._saved.hooks.__enter__()
        return self

    def mark(self, part: str) -> None:
        """Record the saved bytes at the end of the forward pass."""
        if part == "forward":
            self._saved_bytes = self._saved.bytes

    def __exit__(self, *failure: Any) -> None:
        if "saved_bytes" not in self._unseen:
            self._saved.hooks.__exit__(*failure)
        if "tensor_peak_bytes" not in self._unseen:
            self._storages.__exit__(*failure)
        self._process.__exit__(*failure)

    def metrics(self) -> tuple[dict[str, int | float | None], dict[str, str]]:
        """Return the metrics, and the reason for each metric that is None."""
        on_cuda = self._device.type == "cuda"
        metrics: dict[str, int | float | None] = {
            "tensor_peak_bytes": self._storages.peak,
            "saved_bytes": self._saved_bytes,
            "process_peak_bytes": self._process.bytes,
            "accelerator_peak_bytes": torch.cuda.max_memory_allocated(self._device) if on_cuda else None,
        }
        reasons = {}
        if not on_cuda:
            reasons["accelerator_peak_bytes"] = f"the device {self._device.type} has no allocator statistics"
        if self._process.reason:
            reasons["process_peak_bytes"] = self._process.reason
        hidden = {name: reason for name, reason in self._unseen.items() if name in metrics}
        return metrics | dict.fromkeys(hidden), reasons | hidden
