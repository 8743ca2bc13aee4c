"""Index maps in traces: from the JSON of any version of TVM to that of the installed TVM.

A trace that lays out a weight anew has the map as TVM's JSON, in which the names and the fields of
expressions differ between versions. All other parts of a trace are the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from pytest_tvmtune.relax import compat

_PARTS = ("initial_indices", "final_indices", "inverse_index_map")


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

        self._makers: dict[str, Callable[[Any], Any]] = {
            "None": lambda _: None,
            "int": lambda data: data,
            "String": lambda data: data,
            "Array": lambda data: [self._value(one) for one in data],
            "Var": lambda data: compat.IndexVar(self._value(data["name"]), self._dtype(data)),
            "IntImm": lambda data: compat.IntImm(self._dtype(data), self._integer(data["value"])),
            "Cast": lambda data: compat.Cast(self._dtype(data), self._value(data["value"])),
            "IndexMap": lambda data: compat.IndexMap(*(self._value(data[part]) for part in _PARTS)),
        }

    def index_map(self) -> Any:
        return self._value(self._root)

    def _value(self, index: int) -> Any:
        """Return the value of a node; variables are equal only where they are one node."""
        if index not in self._made:
            node = self._nodes[index]
            self._made[index] = self._make(str(node["type"]), node.get("data"))
        return self._made[index]

    def _make(self, kind: str, data: Any) -> Any:
        # The prefix is another one in each version.
        name = kind.rpartition(".")[2]
        if name in compat.INDEX_OPERATORS:
            return getattr(compat, name)(self._value(data["a"]), self._value(data["b"]))
        if name in self._makers:
            return self._makers[name](data)
        raise ValueError(f"an index map with {kind} can't be replayed")

    def _integer(self, value: int) -> int:
        return int(self._value(value)) if self._has_int_nodes else value

    def _dtype(self, data: dict[str, Any]) -> str:
        """Return the dtype of an expression: until 0.25 its own, then that of its type."""
        if "dtype" in data:
            return str(data["dtype"])
        return str(self._nodes[data["ty"]]["data"]["dtype"])
