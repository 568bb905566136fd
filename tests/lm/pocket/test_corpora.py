"""Corpora and their tokenizers: known answers, exact round trips, and what is not text."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from saltus.errors import SaltusError
from saltus.lm.pocket import corpora
from saltus.lm.pocket.corpora import PeriodicCorpus, TextCorpus, cut_text, describe_text, read_text
from saltus.lm.pocket.tokenizers import name_words, open_corpus, write_corpus
from saltus.specs.pocket import CorpusSpec, PeriodicCorpusSpec, TextCorpusSpec

TEXT = "".join(f"{i}. the line of number {i * i}\r\n\tis  not «the» last,\n" for i in range(400)) + "no newline: 終わり"


def find_period(sequence: np.ndarray) -> int:
    """The smallest shift under which it is the same."""
    return next(p for p in range(1, len(sequence) + 1) if (sequence[p:] == sequence[:-p]).all())


def open_tokenizer(spec: CorpusSpec, folder: Path, length: int = 8) -> PreTrainedTokenizerBase:
    folder.mkdir()
    write_corpus(spec, length, folder)
    return AutoTokenizer.from_pretrained(folder)


# --- random strings that repeat ----------------------------------------------------------------------------------


def test_sequences_repeat_at_uniform_periods() -> None:
    tokens = PeriodicCorpus(4096).draw(np.random.default_rng(0), 4000, 17)
    assert tokens.shape == (4000, 17)
    # Of 4,096 words hardly any string repeats by chance within itself, so the period that is found is the one drawn.
    periods, counts = np.unique([find_period(sequence) for sequence in tokens], return_counts=True)
    assert periods.tolist() == [2, 3, 4, 5, 6, 7, 8]
    expected = 4000 / 7
    assert ((counts - expected) ** 2 / expected).sum() < 27.9  # chi-squared of 6 degrees, passed once in 10,000


def test_words_are_uniform_and_those_of_a_string_independent() -> None:
    first, second = PeriodicCorpus(10).draw(np.random.default_rng(1), 20_000, 4)[:, :2].T
    counts = np.bincount(10 * first + second, minlength=100)
    assert ((counts - 200.0) ** 2 / 200.0).sum() < 159.0  # chi-squared of 99 degrees, passed once in 10,000


def test_words_of_a_periodic_corpus(tmp_path: Path) -> None:
    tokenizer = open_tokenizer(PeriodicCorpusSpec(vocabulary=40), tmp_path / "corpus")
    assert len(tokenizer) == 40
    assert tokenizer("0 7 3 1")["input_ids"] == [0, 7, 3, 1]
    assert tokenizer(" 3")["input_ids"] == [3]
    assert tokenizer.decode([9, 10, 35, 36]) == "9 a z w36"
    assert tokenizer(" ".join(name_words(40)))["input_ids"] == list(range(40))
    with pytest.raises(Exception, match="Missing"):  # no silent token for what it cannot say
        tokenizer("0 hello")


# --- text --------------------------------------------------------------------------------------------------------


@pytest.fixture
def described(tmp_path: Path) -> TextCorpusSpec:
    path = tmp_path / "text.txt"
    path.write_bytes(TEXT.encode())
    return describe_text(path, vocabulary=300)


def test_tokens_are_exactly_the_text(described: TextCorpusSpec, tmp_path: Path) -> None:
    tokenizer = open_tokenizer(described, tmp_path / "corpus")
    corpus = open_corpus(described, tmp_path / "corpus")
    assert isinstance(corpus, TextCorpus)
    assert tokenizer.decode(corpus.tokens.tolist()) == TEXT
    assert len(tokenizer) == 300
    assert len(corpus.tokens) < 0.7 * len(TEXT.encode())
    for text in ("a , b .c  don't", "\r\n\t \n", "ß🤍é\u200b", "<|endoftext|>"):  # not in the corpus
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_tokenizer_is_the_same_each_time(described: TextCorpusSpec, tmp_path: Path) -> None:
    for name in ("one", "other"):
        open_tokenizer(described, tmp_path / name)
    for file in ("tokenizer.json", "tokens.uint16"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "other" / file).read_bytes()


def test_windows_lie_anywhere_in_the_text() -> None:
    corpus = TextCorpus(np.arange(100, 112, dtype=np.uint16))
    tokens = corpus.draw(np.random.default_rng(0), 1000, 10)
    assert_array_equal(tokens - tokens[:, :1], np.tile(np.arange(10), (1000, 1)))
    begins, counts = np.unique(tokens[:, 0], return_counts=True)
    assert begins.tolist() == [100, 101, 102]
    assert counts.min() > 270


@pytest.mark.parametrize("text", [TEXT, "x" * 9000, "", "\n" * 500, "ab\n" * 1000])
def test_pieces_are_the_text(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(corpora, "_PIECE", 64)
    pieces = list(cut_text(text))
    assert "".join(pieces) == text
    assert all(64 < len(piece) <= 128 for piece in pieces[:-1])
    if text == TEXT:
        assert all(piece.endswith("\n") for piece in pieces[:-1])


def test_folder_is_read_in_the_order_of_names_and_what_is_no_text_is_passed_over(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "b").mkdir(parents=True)
    (folder / ".git").mkdir()
    for name, content in {
        "c.txt": b"three\r\n",
        "b/z.md": b"two\n",
        "a": b"one\n",
        "b/picture.png": b"\x89PNG\r\n",
        "b/zeros": b"no\0text",
        ".hidden": b"hidden",
        ".git/config": b"hidden",
        "empty": b"",
    }.items():
        (folder / name).write_bytes(content)
    (tmp_path / "secret").write_text("secret")
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "loop").symlink_to(folder)
    os.mkfifo(folder / "pipe")
    assert read_text(str(folder)) == "one\ntwo\nthree\r\n"


def test_standard_library_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("os.py", "json/__init__.py", "test/test_os.py", "site-packages/numpy.py", "LICENSE.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{name}\n")

    def get_path(_: str) -> str:
        return str(tmp_path)

    monkeypatch.setattr(corpora.sysconfig, "get_path", get_path)
    assert read_text(None) == "json/__init__.py\nos.py\n"
    assert describe_text().path is None


def make_binary(folder: Path) -> Path:
    (folder / "binary").write_bytes(b"text\0")
    return folder / "binary"


def make_empty_folder(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


def make_broken_link(folder: Path) -> Path:
    (folder / "link").symlink_to(folder / "nowhere")
    return folder / "link"


def make_large(folder: Path) -> Path:
    (folder / "large").write_text("x" * 1001)
    return folder / "large"


def name_missing(folder: Path) -> Path:
    return folder / "missing"


def name_device(folder: Path) -> Path:
    return Path("/dev/zero")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (make_binary, "holds no text"),
        (make_empty_folder, "holds no text"),
        (make_broken_link, "neither a file nor a folder"),
        (make_large, "more than 0 MiB of text"),
        (name_missing, "neither a file nor a folder"),
        (name_device, "neither a file nor a folder"),
    ],
)
def test_what_is_no_text_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], Path], message: str
) -> None:
    monkeypatch.setattr(corpora, "LARGEST_TEXT", 1000)
    with pytest.raises(SaltusError, match=message):
        describe_text(make(tmp_path))


def test_text_that_has_changed_is_refused(described: TextCorpusSpec, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_bytes(TEXT.encode() + b".")
    with pytest.raises(SaltusError, match="bring the old text back"):
        write_corpus(described, 8, tmp_path)


def test_text_that_is_too_short_is_refused(described: TextCorpusSpec, tmp_path: Path) -> None:
    with pytest.raises(SaltusError, match=r"and a sequence 1000000; give more text"):
        write_corpus(described, 1_000_000, tmp_path)
    too_many = TextCorpusSpec(path=described.path, sha256=described.sha256, vocabulary=20_000)
    with pytest.raises(SaltusError, match=r"vocabulary: 20000 was given.*give at most \d+"):
        write_corpus(too_many, 8, tmp_path)
