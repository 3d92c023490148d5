"""Arrays of numpy, torch and JAX, to bytes and back, bit for bit.

This never imports torch or JAX to look at an object: code that holds one of their arrays has imported them.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from phyletic.checkpoints.packed import Array, Stored
from phyletic.disk import Part
from phyletic.errors import CheckpointError

_NUMPY = {
    np.dtype(kind): name
    for kind, name in {
        "?": "BOOL", "u1": "U8", "i1": "I8", "<u2": "U16", "<i2": "I16", "<f2": "F16", "<u4": "U32",
        "<i4": "I32", "<f4": "F32", "<u8": "U64", "<i8": "I64", "<f8": "F64",
    }.items()
}  # fmt: skip
_FROM_NUMPY = {name: dtype for dtype, name in _NUMPY.items()}
_EXTENDED = {"bfloat16": "BF16", "float8_e5m2": "F8_E5M2", "float8_e4m3fn": "F8_E4M3"}
_TORCH = {
    "bool": "BOOL", "uint8": "U8", "int8": "I8", "uint16": "U16", "int16": "I16", "float16": "F16", "uint32": "U32",
    "int32": "I32", "float32": "F32", "uint64": "U64", "int64": "I64", "float64": "F64", **_EXTENDED,
}  # fmt: skip
_FROM_TORCH = {name: dtype for dtype, name in _TORCH.items()}
_RAW_TORCH = {"complex32", "complex64", "complex128"}


class Unsupported(Exception):
    """A value cannot be lowered; the text says why. The caller knows its place and raises ``StateUnsupported``."""


def is_tensor(value: object) -> bool:
    """Whether ``value`` is a torch tensor."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def is_jax_array(value: object) -> bool:
    """Whether ``value`` is a JAX array."""
    jax = sys.modules.get("jax")
    return jax is not None and isinstance(value, jax.Array)


def lower_numpy(value: np.ndarray[Any, Any], name: str) -> tuple[Array, dict[str, Any]]:
    """Return a numpy array to write, and what its node says beside the name.

    Types that the file format lacks (complex, text, dates) become raw bytes, and the node names their type and shape.

    Raises:
        Unsupported: Its type cannot be saved.
    """
    dtype = value.dtype
    if dtype.kind == "O" or (dtype.kind == "V" and dtype.name not in _EXTENDED):
        raise Unsupported(f"a numpy array of dtype {dtype}; only numbers, bool, text and dates can be saved")
    if type(value) not in (np.ndarray, np.memmap):
        raise Unsupported(f"a {type(value).__module__}.{type(value).__qualname__}, a subclass of numpy's array")
    little = dtype if dtype.byteorder in "=|<" and sys.byteorder == "little" else dtype.newbyteorder("<")
    stored = _EXTENDED.get(dtype.name) if dtype.kind == "V" else _NUMPY.get(little)

    def content() -> Part:
        if value.nbytes == 0:
            return b""
        flat = np.ascontiguousarray(value.astype(little, copy=False)).reshape(-1)
        return flat.view(np.uint8).data

    if stored is not None:
        return Array(name, stored, value.shape, content), {}
    return Array(name, "U8", (value.nbytes,), content), {"dtype": little.str, "shape": value.shape}


def numpy_array(stored: Stored, content: memoryview, node: dict[str, Any]) -> np.ndarray[Any, Any]:
    """Return the numpy array that :func:`lower_numpy` lowered: writable, with memory of its own.

    Args:
        stored: Where it lies.
        content: Its bytes.
        node: What its node says.
    """
    if "dtype" in node:
        dtype, shape = np.dtype(node["dtype"]), tuple(node["shape"])
    elif stored.dtype in _FROM_NUMPY:
        dtype, shape = _FROM_NUMPY[stored.dtype], stored.shape
    else:
        import ml_dtypes

        dtype, shape = np.dtype(getattr(ml_dtypes, _FROM_TORCH[stored.dtype])), stored.shape
    made: np.ndarray[Any, Any] = np.empty(shape, dtype)
    if made.nbytes != len(content):
        raise CheckpointError(f"{len(content)} bytes for an array of shape {shape} and dtype {dtype}")
    if made.nbytes:
        made.reshape(-1).view(np.uint8)[:] = np.frombuffer(content, np.uint8)
    return made


def lower_tensor(value: Any, name: str) -> tuple[Array, dict[str, Any]]:
    """Return a torch tensor to write, and what its node says beside the name.

    Raises:
        Unsupported: Its type or layout cannot be saved.
    """
    import torch

    if value.is_quantized:
        raise Unsupported(f"a quantised tensor ({value.dtype}); save its integers, scale and zero point")
    if value.layout is not torch.strided or value.is_nested:
        raise Unsupported(f"a tensor of layout {value.layout}; only dense tensors can be saved: to_dense() gives one")
    if value.device.type == "meta":
        raise Unsupported("a tensor on the meta device, which has no data")
    dtype = str(value.dtype).removeprefix("torch.")
    if dtype not in _TORCH and dtype not in _RAW_TORCH:
        raise Unsupported(f"a tensor of dtype {value.dtype}")
    shape = tuple(value.shape)

    def content() -> Part:
        if value.numel() == 0:
            return b""
        flat = value.detach().resolve_conj().resolve_neg().cpu().contiguous().reshape(-1)
        return memoryview(flat.view(torch.uint8).numpy())

    owned = value.device.type != "cpu"
    node: dict[str, Any] = {"grad": True} if value.requires_grad else {}
    if dtype in _TORCH:
        return Array(name, _TORCH[dtype], shape, content, owned), node
    return Array(name, "U8", (value.nbytes,), content, owned), {"dtype": dtype, "shape": shape, **node}


def tensor(stored: Stored, file: Any, node: dict[str, Any], view: bool) -> Any:
    """Return the torch tensor that :func:`lower_tensor` lowered.

    Args:
        stored: Where it lies.
        file: The mapped file, a writable buffer.
        node: What its node says.
        view: Whether it may share the mapped file's memory, because the caller copies it at once.
    """
    import torch

    shape = tuple(node.get("shape", stored.shape))
    dtype = getattr(torch, node["dtype"] if "dtype" in node else _FROM_TORCH[stored.dtype])
    if stored.size == 0:
        made = torch.empty(shape, dtype=dtype)
    else:
        raw = "dtype" in node  # raw bytes are not aligned to the type
        count = stored.size if raw else stored.size // dtype.itemsize
        made = torch.frombuffer(file, dtype=torch.uint8 if raw else dtype, count=count, offset=stored.start)
        if raw or not view:
            made = made.clone()
        made = made.view(dtype).reshape(shape)
    if node.get("grad"):
        made.requires_grad_()
    return made


def lower_jax(value: Any, name: str) -> tuple[Array, dict[str, Any]]:
    """Return a JAX array to write, and what its node says beside the name; a typed key becomes its data."""
    import jax

    node: dict[str, Any] = {}
    if jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key):
        node["key"] = str(jax.random.key_impl(value))
        value = jax.random.key_data(value)
    like, described = lower_numpy(np.empty(0, value.dtype), name)
    shape = value.shape
    if described:  # written as raw bytes
        node |= {**described, "shape": shape}
        shape = (value.nbytes,)
    owned = all(device.platform != "cpu" for device in value.devices())
    return Array(name, like.dtype, shape, lambda: lower_numpy(np.asarray(value), name)[0].bytes(), owned), node


def jax_array(stored: Stored, content: memoryview, node: dict[str, Any], live: Any) -> Any:
    """Return the JAX array that :func:`lower_jax` lowered.

    Args:
        stored: Where it lies.
        content: Its bytes.
        node: What its node says.
        live: What the state holds in its place; if it is a JAX array, the result is on the same devices.
    """
    import jax

    made = jax.numpy.asarray(numpy_array(stored, content, node))
    if "key" in node:
        made = jax.random.wrap_key_data(made, impl=node["key"])
    return jax.device_put(made, live.sharding) if is_jax_array(live) else made


def bits(value: Any) -> tuple[object, ...]:
    """Return what distinguishes a tensor or JAX array from others; equal if they are saved alike."""
    array, node = (lower_tensor if is_tensor(value) else lower_jax)(value, "")
    return array.dtype, array.shape, node, bytes(array.bytes())
