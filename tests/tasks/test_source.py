"""The code that is kept of a class does what its file does, and what cannot be kept is refused."""

import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

from saltus.errors import SaltusError
from saltus.specs.source import define_class, extract_source

CLASS = """
class Own:
    def read(self):
        return VALUE
"""


def keep(tmp_path: Path, text: str, value: str) -> tuple[Any, Any, str]:
    """What `Own().read()` gives in its file and from the code that is kept, and that code."""
    path = tmp_path / "own.py"
    path.write_text(text + CLASS.replace("VALUE", value))
    own = runpy.run_path(str(path))["Own"]
    source = extract_source(own)
    return own().read(), define_class("Own", source)().read(), source


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("TABLE = {}\nTABLE['a'] = 1\n", "TABLE"),
        ("TABLE = {'a': 1, 'b': 2}\ndel TABLE['a']\n", "TABLE"),
        ("TABLE = []\nTABLE.append(3)\n", "TABLE"),
        ("TABLE = [[]]\nfor k in range(2):\n    TABLE[0].append(k)\n", "TABLE"),
        ("import random\nTABLE = list(range(9))\nrandom.Random(1).shuffle(TABLE)\n", "TABLE"),
        ("TABLE = []\ndef fill():\n    TABLE.append(3)\nfill()\n", "TABLE"),
        ("RATE = 1\ndef fill():\n    global RATE\n    RATE = 2\nrate = fill()\n", "RATE"),
        ("class Base:\n    rate = 1\nBase.rate = 2\n", "Base.rate"),
        ("from types import SimpleNamespace as N\nN = N(rate=1)\nsetattr(N, 'rate', 2)\n", "N.rate"),
        ("from math import prod as sum\n", "sum([2, 3, 4])"),
        ("def len(of):\n    return 7\n", "len([])"),
        ("try:\n    import json as coder\nexcept ImportError:\n    coder = None\n", "coder.dumps([1])"),
        ("N = 1\ndef count():\n    global N\n    N += 1\n    return 3\n", "count()"),
        ("rate = 2\nclass Base:\n    rate = rate\n", "Base.rate"),
        ("rows = {k: 2 for k in range(3)}\n", "[k for k in rows]"),
        ("if True:\n    def rate():\n        return 2\nelse:\n    from math import pi as rate\n", "rate()"),
    ],
)
def test_what_a_file_does_to_a_name_is_kept(tmp_path: Path, text: str, value: str) -> None:
    expected, kept, _ = keep(tmp_path, text, value)
    assert kept == expected


def test_annotations_may_name_what_is_imported_for_them_alone(tmp_path: Path) -> None:
    text = "from __future__ import annotations\nfrom typing import TYPE_CHECKING\n"
    text += "if TYPE_CHECKING:\n    from json import Coder\ndef read(x: Coder) -> Coder:\n    return x\n"
    expected, kept, source = keep(tmp_path, text, "read(3)")
    assert kept == expected == 3
    assert source.startswith("from __future__ import annotations\n")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("TABLE = [[0], [0]]\nfor row in TABLE:\n    row[0] = 7\n", "TABLE"),
        ("ROWS = [[0], [0]]\nfor row in ROWS:\n    row[0] = 7\nTABLE = ROWS\n", "TABLE"),
        ("TABLE = {'a': 0}\nalias = TABLE\nalias['a'] = 7\n", "TABLE"),
        ("TABLE = [5, 0, 7]\nfirst = TABLE.pop(0)\n", "TABLE"),
        ("TABLE = []\n[TABLE.append(v) for v in (0, 7)]\n", "TABLE"),
        ("import numpy as np\nTABLE = np.zeros(2)\n_ = np.add(TABLE, 7, out=TABLE)\n", "TABLE"),
        ("import torch\nTABLE = torch.zeros(2)\n_ = torch.add(TABLE, 7, out=TABLE)\n", "TABLE"),
        ("TABLE = set()\ndef inner():\n    TABLE.add(7)\ndef outer():\n    inner()\nouter()\n", "TABLE"),
        ("TABLE = [0]\ndef fill(of):\n    of[0] = 7\n    return of\nother = fill(TABLE)\n", "TABLE"),
        ("class Base:\n    rate = 1\nbase = Base\nbase.rate = 2\n", "Base.rate"),
        ("import random\nRATE = random.random()\n", "RATE"),
    ],
)
def test_a_change_that_is_not_kept_is_refused(tmp_path: Path, text: str, value: str) -> None:
    with pytest.raises(
        SaltusError, match=rf"Own uses {value}, and the code .* another value than .*own\.py has; build it"
    ):
        keep(tmp_path, text, value)


def test_an_attribute_that_is_set_elsewhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text(CLASS.replace("VALUE", "self.rate") + "for each in (Own,):\n    each.rate = 2\n")
    with pytest.raises(SaltusError, match=r"Own uses Own\.rate, and the code"):
        extract_source(runpy.run_path(str(path))["Own"])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("MADE = {}\ndef make(k):\n    if k not in MADE:\n        MADE[k] = 2 * k\n    return MADE[k]\n", "make(3)"),
        ("N = 0\ndef count():\n    global N\n    N += 1\n    return 3\n", "count()"),
        (
            "class Base:\n    made = {}\n    def make(self, k):\n        self.made[k] = k\n        return k\n",
            "Base().make(3)",
        ),
    ],
)
def test_what_the_code_itself_remembers_is_no_change_of_the_file(tmp_path: Path, text: str, value: str) -> None:
    path = tmp_path / "own.py"
    path.write_text(text + CLASS.replace("VALUE", value))
    own = runpy.run_path(str(path))["Own"]
    own().read()
    source = extract_source(own)
    define_class("Own", source)().read()
    own().read()
    assert extract_source(own) == source


def test_kept_code_that_raises_says_so(tmp_path: Path) -> None:
    text = "rows = [1]\nfor each in [rows]:\n    each.append(2)\nLAST = rows[1]\n"
    with pytest.raises(
        SaltusError, match="Own: its code, as it is kept with the run, raised IndexError: list index out"
    ):
        keep(tmp_path, text, "LAST")


def test_a_dataclass_finds_its_module_whose_annotations_are_text(tmp_path: Path) -> None:
    text = "from __future__ import annotations\nfrom dataclasses import dataclass\n"
    text += "@dataclass\nclass Part:\n    rate: int\n"
    expected, kept, _ = keep(tmp_path, text, "Part(3).rate")
    assert kept == expected == 3


def test_code_that_raises_raises_each_time() -> None:
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            define_class("Own", "1 / 0\nclass Own:\n    pass")


def test_the_file_of_the_code_is_no_part_of_it(tmp_path: Path) -> None:
    with pytest.raises(SaltusError, match="Own uses __file__, and the run keeps its code and not its file; write into"):
        keep(tmp_path, "from pathlib import Path\nHERE = Path(__file__).parent\n", "HERE")


@pytest.mark.parametrize(
    "text",
    [
        "OTHER = {}\nOTHER['own'] = RATE\n",
        "print(RATE)\n",
        "rates = [RATE]\n",
        "def describe(x):\n    RATE = [x]\n    RATE.append(x)\n    return RATE\nother = describe(1)\n",
    ],
)
def test_what_changes_no_name_that_is_needed_is_left_out(tmp_path: Path, text: str) -> None:
    _, _, source = keep(tmp_path, "RATE = 3\n" + text, "RATE")
    assert source.splitlines()[0] == "RATE = 3"
    assert source.splitlines()[1] == "class Own:"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("def size(heads=8):\n    return heads\n", "size()"),
        ("def size(of):\n    heads = of\n    return heads\n", "size(8)"),
        ("def size():\n    return [heads for heads in (8,)]\n", "size()"),
        ("def size():\n    import math as heads\n    return heads.floor(8.5)\n", "size()"),
        ("SIZES = {heads: heads for heads in (8,)}\n", "SIZES"),
        ("size = lambda heads: heads\n", "size(8)"),
    ],
)
def test_a_name_of_a_function_or_comprehension_is_not_the_files(tmp_path: Path, text: str, value: str) -> None:
    _, _, expected = keep(tmp_path, text, value)
    for study in ("study = [heads for heads in (2, 4)]\n", "for heads in (2, 4):\n    study = heads\n"):
        assert keep(tmp_path, study + text, value)[2] == expected


def test_what_trains_the_class_is_left_out(tmp_path: Path) -> None:
    text = "def train(own, rate):\n    return rate\n"
    path = tmp_path / "own.py"
    end = "train(Own, 2)\nif __name__ == '__main__':\n    RATES.append(Own)\n"
    path.write_text("RATES = [1]\n" + text + CLASS.replace("VALUE", "RATES") + end)
    source = extract_source(runpy.run_path(str(path))["Own"])
    assert "train" not in source
    assert "__main__" not in source


def test_code_of_a_file_beside_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "saltus_helper.py").write_text("RATE = 2\n")
    for text, value in (
        ("from saltus_helper import RATE\n", "RATE"),
        ("import saltus_helper as helper\n", "helper.RATE"),
        ("try:\n    from saltus_helper import RATE\nexcept ImportError:\n    RATE = 1\n", "RATE"),
    ):
        with pytest.raises(
            SaltusError, match=r"Own imports saltus_helper, a file beside .*own\.py, and only the code of"
        ):
            keep(tmp_path, text, value)
    keep(tmp_path, "import saltus_helper\nRATE = 1\n", "RATE")  # the class does not need it
    monkeypatch.delitem(sys.modules, "saltus_helper")
