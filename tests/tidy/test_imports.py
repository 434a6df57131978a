"""Imports go one way, and the pure part touches neither clock nor chance nor the world."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter

import pytest

from tests.tidy.layers import BANNED_CALLS, BANNED_IMPORTS, FREE, LAYERS, NOT_PURE, PURE
from tests.tidy.source import PACKAGES, ROOT, Source, imports, module_path, parse, sources

_LEVELS = {unit: level for level, units in enumerate(LAYERS) for unit in units}


def _within(module: str, units: tuple[str, ...]) -> str | None:
    """Return the longest of the units that holds the module."""
    holding = [unit for unit in units if module == unit or module.startswith(f"{unit}.")]
    return max(holding, key=len, default=None)


def _unit(module: str) -> str | None:
    return _within(module, tuple(_LEVELS))


def _is_pure(module: str) -> bool:
    return _within(module, PURE) is not None and _within(module, NOT_PURE) is None


def _wrong_way(source: Source) -> Iterator[str]:
    here = _unit(source.module)
    if here is None:
        if source.module not in FREE:
            yield f"{source.at(1)}: {source.module} has no row in tests/tidy/layers.py"
        return
    for name, line in imports(source):
        there = _unit(name)
        if there is not None and _LEVELS[there] > _LEVELS[here]:
            yield f"{source.at(line)}: {here} must not import {there}, which stands above it"
        if name.split(".")[0] in {"tests", "examples"}:
            yield f"{source.at(line)}: what is shipped must not import {name}"


def _impure(source: Source) -> Iterator[str]:
    if not _is_pure(source.module):
        return
    for name, line in imports(source):
        if remedy := BANNED_IMPORTS.get(name.split(".")[0]):
            yield f"{source.at(line)}: the pure part imports {name}; instead: {remedy}"
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call):
            called = node.func
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            if remedy := BANNED_CALLS.get(name):
                yield f"{source.at(node.lineno)}: the pure part calls {name}; instead: {remedy}"
        elif isinstance(node, ast.Attribute) and node.attr == "random":
            remedy = BANNED_IMPORTS["random"]
            yield f"{source.at(node.lineno)}: the pure part draws at random; instead: {remedy}"


def test_imports_go_one_way() -> None:
    """A module imports from its own layer or from those beneath it, and each stands in one."""
    faults = [fault for source in sources(*PACKAGES) for fault in _wrong_way(source)]
    assert not faults, "\n".join(faults)


def test_units_form_no_cycle() -> None:
    """Units of one layer may use each other, but not in a circle."""
    graph: dict[str, set[str]] = {}
    for source in sources(*PACKAGES):
        here = _unit(source.module)
        used = {_unit(name) for name, _ in imports(source)} - {None, here}
        if here is not None:
            graph.setdefault(here, set()).update(unit for unit in used if unit)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


def test_the_pure_part_is_pure() -> None:
    """Features, models, state, funding, codec and step know no clock, chance, log or network."""
    faults = [fault for source in sources(*PACKAGES) for fault in _impure(source)]
    assert not faults, "\n".join(faults)


def test_kernels_are_compiled_in_one_place() -> None:
    """Only streams/compile.py says how Numba compiles; all others take `kernel` from it."""
    wrong = [
        f"{source.at(line)}: instead: from streams.compile import kernel"
        for source in sources(*PACKAGES)
        if source.module != "streams.compile"
        for line, text in enumerate(source.text.splitlines(), 1)
        if "njit" in text or "numba.jit" in text or "fastmath" in text or 'inline="' in text
    ]
    assert not wrong, "\n".join(wrong)


_BAD = [
    ("streams/state/sample.py", "from features import catalog\n", _wrong_way),
    ("streams/sample.py", "import json\n", _wrong_way),
    ("models/sample.py", "import tests.sizes\n", _wrong_way),
    ("features/sample.py", "def f():\n    import time\n", _impure),
    ("models/sample.py", "from os import environ\n", _impure),
    ("streams/funding/sample.py", "import math\nx = math.exp(1.0)\n", _impure),
    ("streams/codec/sample.py", "import numpy as np\nx = np.random.default_rng()\n", _impure),
    ("models/policy/sample.py", "x = hash('a')\n", _impure),
]


@pytest.mark.parametrize(("path", "text", "rule"), _BAD)
def test_a_breach_is_seen(path: str, text: str, rule: object) -> None:
    """Each rule of this file finds a line that breaks it."""
    assert callable(rule)
    assert len(list(rule(parse(text, ROOT / path)))) == 1


def test_training_may_read_the_world() -> None:
    """models/train stands with control and agents: it may import what the path may not."""
    source = parse("import time\nimport streams.replay\n", ROOT / "models/train/sample.py")
    assert list(_impure(source)) + list(_wrong_way(source)) == []


def test_the_live_worker_loads_no_training_and_no_agents() -> None:
    """Importing the live door brings neither faust nor lightgbm nor frames into the process."""
    doors = [door for door in ("streams.step", "streams.live") if module_path(door)]
    code = "import json, sys\n" + "".join(f"import {door}\n" for door in doors)
    code += "print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not {"faust", "lightgbm", "polars"} & set(json.loads(done.stdout))


def test_clients_are_made_in_one_place() -> None:
    """Only `streams/broker/client.py` and `access.py` make a Kafka client, so each shows the
    credentials that are set; the one of Faust takes them from there.
    """
    makers = {"AIOKafkaProducer", "AIOKafkaConsumer", "AIOKafkaAdminClient", "AIOKafkaClient"}
    places = {"streams.broker.client", "streams.broker.access"}
    found = [
        source.at(node.lineno)
        for source in sources(*PACKAGES)
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", "") in makers
        and source.module not in places
    ]
    assert not found
