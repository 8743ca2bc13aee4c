"""Index maps in traces, from the JSON of any version of TVM to this one's.

A trace that lays out a weight anew has the map as TVM's JSON, in which the names and the fields of
expressions differ between versions. All other parts of a trace are the same.
"""

from __future__ import annotations

import json
from typing import Any

from pytest_tvmtune.relax import compat

# Classes of `tvm.tirx` with two operands, by their names in JSON behind any prefix.
_BINARY = frozenset({"Add", "Sub", "Mul", "Div", "Mod", "FloorDiv", "FloorMod", "Min", "Max"})


def with_own_index_maps(trace: Any) -> Any:
    """Return a trace's JSON with its index maps as this TVM writes them.

    Raises:
        ValueError: An index map has an expression that isn't known here.
    """
    if isinstance(trace, str) and trace.startswith("{") and '"root_index"' in trace:
        return str(compat.save_json(_Graph(json.loads(trace)).index_map()))
    if isinstance(trace, list):
        return [with_own_index_maps(one) for one in trace]
    return trace


class _Graph:
    """A graph of TVM's JSON: nodes that refer to others by their position."""

    def __init__(self, graph: dict[str, Any]) -> None:
        self._nodes = graph["nodes"]
        self._root = int(graph["root_index"])
        # Since 0.27 the value of an integer is a node, too.
        self._has_int_nodes = any(node["type"] == "int" for node in self._nodes)
        self._made: dict[int, Any] = {}

    def index_map(self) -> Any:
        return self._value(self._root)

    def _value(self, index: int) -> Any:
        """Return the value of a node; variables are equal only where they are one node."""
        if index not in self._made:
            node = self._nodes[index]
            self._made[index] = self._make(str(node["type"]), node.get("data"))
        return self._made[index]

    def _make(self, kind: str, data: Any) -> Any:
        name = kind.rpartition(".")[2]
        tirx = compat.tirx()
        if kind == "None":
            return None
        if name in {"int", "String"}:
            return data
        if name == "Array":
            return [self._value(one) for one in data]
        if name == "Var":
            return tirx.Var(self._value(data["name"]), self._dtype(data))
        if name == "IntImm":
            value = self._value(data["value"]) if self._has_int_nodes else data["value"]
            return tirx.IntImm(self._dtype(data), value)
        if name == "Cast":
            return tirx.Cast(self._dtype(data), self._value(data["value"]))
        if name == "IndexMap":
            parts = ("initial_indices", "final_indices", "inverse_index_map")
            return tirx.IndexMap(*(self._value(data[part]) for part in parts))
        if name in _BINARY:
            return getattr(tirx, name)(self._value(data["a"]), self._value(data["b"]))
        raise ValueError(f"an index map with {kind} can't be replayed")

    def _dtype(self, data: dict[str, Any]) -> str:
        """Return the dtype of an expression: until 0.25 its own, then that of its type."""
        if "dtype" in data:
            return str(data["dtype"])
        return str(self._nodes[data["ty"]]["data"]["dtype"])
