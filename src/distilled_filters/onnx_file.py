"""A look into an ONNX file before a runtime opens it: its weights must lie inside it.

ONNX lets a tensor name another file that holds its bytes. A runtime would open that path,
wherever it leads, and no digest of ours covers it. This reads the protobuf framing
alone (https://protobuf.dev/programming-guides/encoding), so the base install needs no onnx.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

from distilled_filters.errors import CheckpointError

__all__ = ["refuse_external_data"]

# Fields that lead to tensors, by message (onnx.proto3): field number -> message.
_PATHS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
# ModelProto.graph, TensorProto.external_data and TensorProto.data_location.
_GRAPH, _EXTERNAL_DATA, _DATA_LOCATION = 7, 13, 14
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def refuse_external_data(path: Path, owner: str) -> None:
    """Let only an ONNX file pass that names no other file.

    Raises:
        CheckpointError: when a tensor lies in another file, or the file is no protobuf.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        pending = [("model", 0, len(content))]
        try:
            if all(number != _GRAPH for number, _ in _fields(content, 0, len(content))):
                raise ValueError("it has no graph")
            while pending:
                message, start, end = pending.pop()
                for number, value in _fields(content, start, end):
                    if message == "tensor":
                        if number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value != 0):
                            raise CheckpointError(
                                f"{owner}: {path} keeps weights in another file, which no digest covers; "
                                "save it with its weights inside"
                            )
                    elif isinstance(value, tuple) and (inner := _PATHS[message].get(number)):
                        pending.append((inner, *value))
        except (ValueError, IndexError) as error:
            raise CheckpointError(f"{owner}: {path} is not an ONNX file: {error}") from error


def _fields(content: mmap.mmap, at: int, end: int) -> Iterator[tuple[int, int | tuple[int, int]]]:
    """Yield the number of every field of one message, and its value or where its bytes lie."""
    while at < end:
        key, at = _varint(content, at)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = _varint(content, at)
            yield number, value
        elif kind == _BYTES:
            length, at = _varint(content, at)
            if at + length > end:
                raise ValueError(f"a field of {length:,} bytes leads past the end")
            yield number, (at, at + length)
            at += length
        elif kind in (_FIXED32, _FIXED64):
            at += 4 if kind == _FIXED32 else 8
            yield number, 0
        else:
            raise ValueError(f"unknown kind of field, {kind}")


def _varint(content: mmap.mmap, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = content[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
    raise ValueError("a number without an end")
