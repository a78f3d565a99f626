"""Reads and writes the little of the ONNX format that the edge needs, without the onnx package.

Protocol buffers' wire format: https://protobuf.dev/programming-guides/encoding. Field numbers: onnx/onnx.proto3 of
onnx 1.17, which never change. Must not know what operators mean.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
TYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool",
    10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 16: "bfloat16", 21: "uint4", 22: "int4",
}  # fmt: skip
"""TensorProto.DataType by number."""
_NUMBERS = {name: number for number, name in TYPES.items()}
_OPSET, _IR_VERSION = 17, 8


@dataclass(frozen=True)
class Constant:
    """An initializer's type and shape; its values stay in the file."""

    type_name: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Node:
    """An operator: its tensors by name, and the domain that its type is of ("" is ONNX's own)."""

    name: str
    op_type: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Graph:
    """Nodes in the file's order and the constants by name."""

    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, Constant] = field(default_factory=dict)


def read_graph(content: bytes) -> Graph:
    """The main graph of an ONNX file.

    Raises:
        ValueError: the bytes end in the middle, or are no protocol buffer.
    """
    graph = Graph()
    for number, value in _fields(_last(memoryview(content), 7, b"")):
        if number == 1:
            graph.nodes.append(_node(_as_bytes(value)))
        elif number == 5:
            tensor = _as_bytes(value)
            graph.constants[_text(tensor, 8)] = _constant(tensor)
    return graph


def _node(content: memoryview) -> Node:
    strings: dict[int, list[str]] = {1: [], 2: [], 3: [], 4: [], 7: []}
    for number, value in _fields(content):
        if number in strings:
            strings[number].append(bytes(_as_bytes(value)).decode())
    name, op_type, domain = ("".join(strings[at][-1:]) for at in (3, 4, 7))
    return Node(name, op_type, domain, tuple(strings[1]), tuple(strings[2]))


def _constant(content: memoryview) -> Constant:
    shape: list[int] = []
    type_name = "unknown"
    for number, value in _fields(content):
        if number == 1 and isinstance(value, int):
            shape.append(value)
        elif number == 1:  # the same numbers, packed
            packed = _as_bytes(value)
            at = 0
            while at < len(packed):
                dim, at = _varint(packed, at)
                shape.append(dim)
        elif number == 2 and isinstance(value, int):
            type_name = TYPES.get(value, "unknown")
    return Constant(type_name, tuple(shape))


def _text(content: memoryview, wanted: int) -> str:
    return bytes(_as_bytes(_last(content, wanted, b""))).decode()


def _last(content: memoryview, wanted: int, default: bytes) -> memoryview:
    found = memoryview(default)
    for number, value in _fields(content):
        if number == wanted:
            found = _as_bytes(value)
    return found


def _as_bytes(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("expected a field of bytes, got a number")
    return value


def _fields(content: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of each field of a message."""
    at = 0
    while at < len(content):
        key, at = _varint(content, at)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = _varint(content, at)
            yield number, value
            continue
        if kind == _BYTES:
            length, at = _varint(content, at)
        elif kind in (_FIXED64, _FIXED32):
            length = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"unknown wire type {kind}")
        if at + length > len(content):
            raise ValueError("the file ends in the middle")
        yield number, content[at : at + length]
        at += length


def _varint(content: memoryview, at: int) -> tuple[int, int]:
    """A number in groups of seven bits, the lowest first, and the place after it."""
    value = 0
    for shift in range(0, 64, 7):
        if at >= len(content):
            raise ValueError("the file ends in the middle")
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number of more than 64 bits")


def constant(name: str, values: NDArray) -> bytes:
    """An initializer: a TensorProto with its values."""
    dims = b"".join(_number(1, dim) for dim in values.shape)
    return dims + _number(2, _NUMBERS[values.dtype.name]) + _string(8, name) + _chunk(9, values.tobytes())


def node(op_type: str, inputs: Sequence[str], outputs: Sequence[str], **integers: int) -> bytes:
    """An operator of ONNX's own, a NodeProto; its attributes can only be integers."""
    names = b"".join(_string(1, name) for name in inputs) + b"".join(_string(2, name) for name in outputs)
    attributes = (_string(1, key) + _number(3, value) + _number(20, 2) for key, value in integers.items())
    return names + _string(3, outputs[0]) + _string(4, op_type) + b"".join(_chunk(5, a) for a in attributes)


def value(name: str, dtype: type[np.generic], shape: Sequence[int]) -> bytes:
    """An input or output: a ValueInfoProto with type and shape."""
    dims = b"".join(_chunk(1, _number(1, dim)) for dim in shape)
    tensor = _number(1, _NUMBERS[np.dtype(dtype).name]) + _chunk(2, dims)
    return _string(1, name) + _chunk(2, _chunk(1, tensor))


def model(
    nodes: Sequence[bytes], constants: Sequence[bytes], inputs: Sequence[bytes], outputs: Sequence[bytes]
) -> bytes:
    """A file: a ModelProto of one graph, under 2 GiB as protocol buffers demand."""
    parts = [(1, nodes), (5, constants), (11, inputs), (12, outputs)]
    graph = _string(2, "fer_edge") + b"".join(_chunk(number, each) for number, many in parts for each in many)
    return _number(1, _IR_VERSION) + _chunk(7, graph) + _chunk(8, _string(1, "") + _number(2, _OPSET))


def _number(number: int, value: int) -> bytes:
    return _encoded(number << 3 | _VARINT) + _encoded(value)


def _string(number: int, text: str) -> bytes:
    return _chunk(number, text.encode())


def _chunk(number: int, content: bytes) -> bytes:
    return _encoded(number << 3 | _BYTES) + _encoded(len(content)) + content


def _encoded(value: int) -> bytes:
    groups = max(1, math.ceil(value.bit_length() / 7))
    return bytes((value >> 7 * at & 0x7F) | (0x80 if at + 1 < groups else 0) for at in range(groups))
