"""Faults put into an exported model, each one that has been seen in exports of such models."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from f1_ros.engine.manifest import MANIFEST_FILE, load_manifest, sha256


class Graph:
    """One exported stage, opened to be altered."""

    def __init__(self, path: Path) -> None:
        self.model = onnx.load(path)
        self.graph = self.model.graph
        self.constants = {tensor.name: tensor for tensor in self.graph.initializer}

    def array(self, name: str) -> np.ndarray:
        return numpy_helper.to_array(self.constants[name])

    def set(self, name: str, array: np.ndarray) -> None:
        old = self.array(name)
        assert array.shape == old.shape
        assert not np.array_equal(array, old)
        self.constants[name].CopyFrom(numpy_helper.from_array(array.astype(old.dtype), name))

    def weights(self, *, of: str = "MatMul") -> list[str]:
        """Constant matrices that such nodes multiply by, in order."""
        used = [name for node in self.graph.node if node.op_type == of for name in node.input]
        return [name for name in used if name in self.constants and self.array(name).ndim == 2]

    def only(self, found: list[str]) -> str:
        assert len(found) == 1, found
        return found[0]

    def instead_of_input(self, name: str, constant: np.ndarray) -> None:
        """Let the graph read a constant where it read one of its inputs."""
        self.graph.initializer.append(numpy_helper.from_array(constant, f"{name}_constant"))
        users = [node for node in self.graph.node if name in node.input]
        assert users
        for node in users:
            node.input[:] = [f"{name}_constant" if given == name else given for given in node.input]

    def swap_in_input(self, name: str) -> None:
        """Let the graph see the first two parts of one of its inputs, along its second axis, in each other's place."""
        shape = next(given for given in self.graph.input if given.name == name).type.tensor_type.shape
        order = np.arange(shape.dim[1].dim_value)
        order[:2] = 1, 0
        self.graph.initializer.append(numpy_helper.from_array(order, "order"))
        for node in self.graph.node:
            node.input[:] = ["swapped" if given == name else given for given in node.input]
        self.graph.node.insert(0, onnx.helper.make_node("Gather", [name, "order"], ["swapped"], axis=1))


def swapped_cameras(graph: Graph) -> None:
    graph.swap_in_input("images")


def missing_embedding_scale(graph: Graph) -> None:
    scale = graph.only(
        [n for node in graph.graph.node if node.op_type == "Mul" for n in node.input if n in graph.constants]
    )
    graph.set(scale, np.ones(()))


def padding_is_looked_at(graph: Graph) -> None:
    shape = next(given for given in graph.graph.input if given.name == "language_mask").type.tensor_type.shape
    graph.instead_of_input("language_mask", np.ones([d.dim_value for d in shape.dim], dtype=bool))


def actions_do_not_see_each_other(graph: Graph) -> None:
    """The block among the action tokens becomes causal."""
    masks = [n for n, t in graph.constants.items() if t.data_type == onnx.TensorProto.BOOL and graph.array(n).ndim == 4]
    name = graph.only(masks)
    graph.set(name, np.tril(graph.array(name)))


def positions_off_by_one(graph: Graph) -> None:
    counts = [n for n, t in graph.constants.items() if t.data_type == onnx.TensorProto.INT64 and len(t.dims) == 1]
    steps = [n for n in counts if (a := graph.array(n)).size > 4 and np.array_equal(a, np.arange(a.size))]
    name = graph.only(steps)
    graph.set(name, graph.array(name) + 1)


def transposed_projection(graph: Graph) -> None:
    square = [n for n in graph.weights() if (shape := graph.array(n).shape)[0] == shape[1]]
    graph.set(square[-1], graph.array(square[-1]).T)


def quantised_with_an_outlier(graph: Graph) -> None:
    """One scale for a whole matrix, set by a value thirty times as large as all others: they fall into few steps."""
    name = max(graph.weights(), key=lambda n: graph.array(n).size)
    weights = graph.array(name)
    step = 30 * np.abs(weights).max() / 127
    graph.set(name, np.rint(weights / step) * step)


def stale_weights(graph: Graph) -> None:
    """Of a step of training ago: every matrix a little different."""
    draw = np.random.default_rng(0)
    for name in dict.fromkeys(graph.weights()):
        weights = graph.array(name)
        if weights.std() == 0.0:  # what resizes a map of one token is no weight
            continue
        graph.set(name, weights + 1e-2 * weights.std() * draw.standard_normal(weights.shape))


def keys_for_values(graph: Graph) -> None:
    graph.swap_in_input("kv")


def codes_in_another_order(graph: Graph) -> None:
    """The codebook's rows the other way round, where they are looked up."""
    looked_up = [node.input[0] for node in graph.graph.node if node.op_type == "Gather"]
    books = {name for name in looked_up if name in graph.constants and graph.array(name).ndim == 2}
    book = graph.only(sorted(books))
    graph.set(book, graph.array(book)[::-1])


MUTATIONS: dict[str, tuple[str, Callable[[Graph], None]]] = {
    "swapped camera order": ("image_tower", swapped_cameras),
    "missing embedding scale": ("language", missing_embedding_scale),
    "wrong mask: padding is looked at": ("prefix", padding_is_looked_at),
    "wrong mask: causal actions": ("flow", actions_do_not_see_each_other),
    "off-by-one positions": ("flow", positions_off_by_one),
    "transposed projection": ("prefix", transposed_projection),
    "transposed projection in foresight": ("foresight_1", transposed_projection),
    "quantised outlier layer": ("flow", quantised_with_an_outlier),
    "stale weights": ("foresight_1", stale_weights),
    "keys for values": ("flow", keys_for_values),
    "another codebook": ("history_encoder", codes_in_another_order),
}


def mutate(engine: Path, out: Path, stage: str, alter: Callable[[Graph], None], precision: str | None = None) -> Path:
    """A copy of an engine with one stage altered, as an exporter with that fault would have left it."""
    shutil.copytree(engine, out)
    graph = Graph(out / f"{stage}.onnx")
    alter(graph)
    onnx.save(graph.model, out / f"{stage}.onnx")
    manifest = json.loads((out / MANIFEST_FILE).read_text())
    manifest["files"][f"{stage}.onnx"] = sha256(out / f"{stage}.onnx")
    if precision is not None:
        manifest["precision"][stage] = precision
    (out / MANIFEST_FILE).write_text(json.dumps(manifest))
    assert dataclasses.asdict(load_manifest(out, ""))["files"] == manifest["files"]
    return out
