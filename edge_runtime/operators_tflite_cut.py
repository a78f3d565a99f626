"""Cuts a TFLite file into models of one operator each, with the file's own weights and quantization.

Owns the file format's objects (`ai_edge_litert.schema_py_generated`). Must not know interpreters or clocks.
"""

import copy
from typing import Any

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

_SHORT, _LONG = (8, 2), (32, 15)
"""Side of the run-up's image and of its window, on one thread and on several. XNNPACK's threads sleep between calls,
and waking them takes longer than most operators: the long run-up has them all awake when the operator's turn comes."""
_CHANNELS = 16


def cut_models(content: bytes, threads: int) -> list[bytes | None]:
    """Models cut out of one.

    Args:
        content: the file.
        threads: how many the models are to run with.

    Returns:
        First a model that holds the run-up alone, a maximum pooling; then for each operator of the main graph one that
        holds the run-up and that operator, or None where no input of the model reaches it.
    """
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    cutter = _Cutter(model, *(_SHORT if threads == 1 else _LONG))
    return [cutter.cut(None), *(cutter.cut(op) for op in model.subgraphs[0].operators)]


def tensor(name: str, shape: tuple[int, ...], type_name: str, buffer: int = 0, quantization: Any = None) -> Any:
    """A tensor of the file format; `type_name` as FLOAT32 or INT8, `buffer` 0 is none."""
    made = schema.TensorT()
    made.name, made.shape, made.buffer = name.encode(), list(shape), buffer
    made.type, made.quantization = getattr(schema.TensorType, type_name), quantization
    return made


def operator_code(name: str, version: int = 1) -> Any:
    """The file format's number of an operator, as MAX_POOL_2D."""
    code = schema.OperatorCodeT()
    code.builtinCode = getattr(schema.BuiltinOperator, name)
    code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), version
    return code


def operator(code: int, inputs: list[int], outputs: list[int], kind: str, **options: Any) -> Any:
    """An operator: its code's place, tensors' places, and `kind` of options, as Pool2DOptions, with their values."""
    made = schema.OperatorT()
    made.opcodeIndex, made.inputs, made.outputs = code, inputs, outputs
    made.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
    made.builtinOptions = getattr(schema, f"{kind}T")()
    for name, value in options.items():
        setattr(made.builtinOptions, name, value)
    return made


def pack(codes: list[Any], graph: Any, buffers: list[Any]) -> bytes:
    """A file with one graph. `buffers[0]` is the empty one."""
    model = schema.ModelT()
    model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, codes, [graph], buffers
    builder = flatbuffers.Builder(1024 + sum(len(b.data) for b in buffers if b.data is not None))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


class _Cutter:
    """Cuts operators out of one model, behind a run-up of this size."""

    def __init__(self, model: Any, side: int, window: int) -> None:
        self._model, self._side, self._window = model, side, window
        self._graph = model.subgraphs[0]
        self._once = self._done_once()

    def _is_constant(self, at: int) -> bool:
        data = self._model.buffers[self._graph.tensors[at].buffer].data
        return data is not None and len(data) > 0

    def _done_once(self) -> dict[int, Any]:
        """Operators that only constants reach, by the tensors that they make."""
        once: dict[int, Any] = {}
        for op in self._graph.operators:
            given = [i for i in op.inputs if i >= 0]
            if given and all(self._is_constant(i) or i in once for i in given):
                once |= dict.fromkeys(op.outputs, op)
        return once

    def cut(self, op: Any | None) -> bytes | None:
        """The run-up and this operator with those that make its constants, or the run-up alone."""
        if op is not None and op.outputs[0] in self._once:
            return None
        shape = (1, self._side, self._side, _CHANNELS)
        window = dict.fromkeys(("filterWidth", "filterHeight"), self._window) | {"strideW": 1, "strideH": 1}
        graph = schema.SubGraphT()
        graph.tensors = [tensor("run_up", shape, "FLOAT32"), tensor("ran_up", shape, "FLOAT32")]
        graph.operators = [operator(0, [0], [1], "Pool2DOptions", padding=schema.Padding.SAME, **window)]
        graph.inputs, graph.outputs = [0], [1]
        codes, buffers = [operator_code("MAX_POOL_2D")], [schema.BufferT()]
        if op is not None:
            places = self._add(op, graph, codes, buffers, {})
            graph.outputs += [places[i] for i in op.outputs]
        return pack(codes, graph, buffers)

    def _add(self, op: Any, graph: Any, codes: list[Any], buffers: list[Any], places: dict[int, int]) -> dict[int, int]:
        """Add an operator after those that make its constants; `places` maps the file's tensors to the graph's."""
        for at in op.inputs:
            if at in self._once and at not in places:
                self._add(self._once[at], graph, codes, buffers, places)
        for at in (*op.inputs, *op.outputs):
            if at < 0 or at in places:
                continue
            made = copy.copy(self._graph.tensors[at])
            made.buffer = 0
            if self._is_constant(at):
                made.buffer = len(buffers)
                buffers.append(self._model.buffers[self._graph.tensors[at].buffer])
            elif at in op.inputs:
                graph.inputs.append(len(graph.tensors))
            places[at] = len(graph.tensors)
            graph.tensors.append(made)
        added = copy.copy(op)
        added.opcodeIndex = len(codes)
        added.inputs = [places.get(i, -1) for i in op.inputs]
        added.outputs = [places[i] for i in op.outputs]
        codes.append(self._model.operatorCodes[op.opcodeIndex])
        graph.operators.append(added)
        return places
