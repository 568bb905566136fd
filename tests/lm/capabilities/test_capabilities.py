"""Prompts say what they should, for tokenizers of several kinds; what a tokenizer cannot say is noticed."""

import hashlib
import re
from collections import Counter
from pathlib import Path

import pytest
from tests.lm.tiny_suite import TEXT, WORDS, make_line_tokenizer, make_pair_tokenizer, make_word_tokenizer
from transformers import PreTrainedTokenizerBase

from saltus.errors import SaltusError
from saltus.lm.capabilities import prompt_file
from saltus.lm.capabilities.base import Prompt
from saltus.lm.capabilities.build import build_capability, make_prompts
from saltus.lm.capabilities.indirect_object import FEWEST_NAMES
from saltus.lm.capabilities.numbered_list import LATEST_START
from saltus.lm.capabilities.prompt_file import describe_prompt_file
from saltus.lm.capabilities.tokens import encode_prompt
from saltus.specs.capabilities import (
    CapabilitySpec,
    CopyingSpec,
    IndirectObjectSpec,
    NumberedListSpec,
    PromptFileSpec,
    RepetitionSpec,
)

NAMES = ("Mary", "John", "Anna", "Tom", "Paul", "Sarah", "James", "Alice")
"""Those of the capability that stand in TEXT."""

ITEMS = [
    "apple",
    "bread",
    "milk",
    "sugar",
    "lamp",
    "table",
    "paper",
    "water",
    "stone",
    "green",
    "music",
    "house",
    "river",
    "chair",
    "glass",
    "horse",
    "window",
    "garden",
    "metal",
    "cotton",
    "silver",
    "orange",
    "bottle",
    "winter",
]


@pytest.fixture(scope="module")
def words() -> PreTrainedTokenizerBase:
    return make_word_tokenizer()


@pytest.fixture(scope="module")
def pairs() -> PreTrainedTokenizerBase:
    return make_pair_tokenizer()


def read(tokenizer: PreTrainedTokenizerBase, tokens: tuple[int, ...]) -> str:
    text = tokenizer.decode(list(tokens))
    assert isinstance(text, str)
    return text


# --- copying and repetition --------------------------------------------------------------------------------------


def test_first_copying_prompt_is_the_papers(words: PreTrainedTokenizerBase, pairs: PreTrainedTokenizerBase) -> None:
    for tokenizer in (words, pairs):
        first = make_prompts(CopyingSpec(), tokenizer, 0)[0]
        assert first.text == "0 7 3 1 2 0 2 3 0 7 3 1 2 0 2"
        assert first.target_text == " 3"
        assert read(tokenizer, first.tokens) == first.text
        assert read(tokenizer, first.target).strip() == "3"
    assert make_prompts(CopyingSpec(), words, 0)[0].tokens == (0, 7, 3, 1, 2, 0, 2, 3, 0, 7, 3, 1, 2, 0, 2)


def test_copying_repeats_random_strings(words: PreTrainedTokenizerBase) -> None:
    prompts = make_prompts(CopyingSpec(prompts=200, digits=5), words, 0)
    for prompt in prompts:
        assert len(prompt.tokens) == 9
        assert (*prompt.tokens, *prompt.target) == prompt.tokens[:5] * 2
    shares = Counter(digit for prompt in prompts for digit in prompt.tokens[:5])
    assert set(shares) == set(range(10))  # a tenth of 1000 each, give or take 5 standard deviations
    assert all(abs(count - 100) < 50 for count in shares.values())


@pytest.mark.parametrize("spec", [CopyingSpec(), RepetitionSpec(), NumberedListSpec(), IndirectObjectSpec()])
def test_prompts_depend_on_spec_tokenizer_and_master_seed_alone(
    spec: CapabilitySpec, pairs: PreTrainedTokenizerBase
) -> None:
    first = make_prompts(spec, pairs, 3)
    assert make_prompts(spec, make_pair_tokenizer(), 3) == first
    assert make_prompts(spec, pairs, 4) != first
    assert len(first) == 16
    assert len({prompt.tokens for prompt in first}) == 16


def test_no_token_is_put_before_a_prompt(pairs: PreTrainedTokenizerBase) -> None:
    assert pairs.encode("0 7")[0] == pairs.bos_token_id  # it would be, by itself
    for spec in (CopyingSpec(), RepetitionSpec(), NumberedListSpec(), IndirectObjectSpec()):
        assert not any(pairs.bos_token_id in prompt.tokens for prompt in make_prompts(spec, pairs, 0))


def test_repetition_draws_every_ordinary_token_and_no_other(pairs: PreTrainedTokenizerBase) -> None:
    prompts = make_prompts(RepetitionSpec(prompts=1000, tokens=10), pairs, 0)
    for prompt in prompts:
        string = prompt.tokens[:10]
        assert len(set(string)) == 10
        assert (*prompt.tokens, *prompt.target) == string * 2
        assert read(pairs, prompt.tokens) == prompt.text
        assert read(pairs, prompt.target) == prompt.target_text
    drawn = {token for prompt in prompts for token in prompt.tokens}
    added = set(pairs.added_tokens_decoder)
    texts = {token: read(pairs, (token,)) for token in range(len(pairs))}
    assert not drawn & added
    assert drawn == {
        token for token, text in texts.items() if token not in added and text.strip() and "\ufffd" not in text
    }


def test_repetition_of_words(words: PreTrainedTokenizerBase) -> None:
    prompts = make_prompts(RepetitionSpec(prompts=100, tokens=32), words, 0)
    assert sorted(prompts[0].tokens[:32]) == list(range(32))
    with pytest.raises(
        SaltusError, match="repetition: the tokenizer has 32 ordinary tokens, too few for strings of 33"
    ):
        make_prompts(RepetitionSpec(tokens=33), words, 0)


# --- numbered lists ----------------------------------------------------------------------------------------------


def check_list(prompt: Prompt, lines: int) -> int:
    """The number of the first line."""
    found = re.findall(r"(\d+)\. ([a-z]+)", prompt.text)
    numbers = [int(number) for number, _ in found]
    assert numbers == list(range(numbers[0], numbers[0] + lines))
    assert len({item for _, item in found}) == lines
    assert (prompt.text + prompt.target_text).endswith(f"\n{numbers[-1] + 1}")
    return numbers[0]


def test_numbered_lists_ask_for_the_next_number(pairs: PreTrainedTokenizerBase) -> None:
    prompts = make_prompts(NumberedListSpec(prompts=64, lines=7), pairs, 0)
    starts = [check_list(prompt, 7) for prompt in prompts]
    assert starts[0] == 1
    assert set(starts) == set(range(1, LATEST_START + 1))
    for prompt in prompts:
        assert prompt.text.endswith("\n")
        assert read(pairs, prompt.tokens) == prompt.text
        assert read(pairs, prompt.target) == prompt.target_text
    assert max(len(prompt.target) for prompt in prompts) > 1  # 11 and 12, which this tokenizer writes in two tokens


def test_line_break_and_number_in_one_token() -> None:
    numbers = [str(number) for number in range(1, 20)]
    tokenizer = make_line_tokenizer([*numbers, *(f"\n{n}" for n in numbers), ".", *ITEMS])
    for prompt in make_prompts(NumberedListSpec(), tokenizer, 0):
        check_list(prompt, 4)
        assert len(prompt.target) == 1
        assert tokenizer.convert_ids_to_tokens(prompt.target[0]) == prompt.target_text
        assert prompt.target_text.startswith("\n")


def test_tokenizer_without_the_words_of_a_list(words: PreTrainedTokenizerBase) -> None:
    with pytest.raises(
        SaltusError, match=r"^numbered_list: the tokenizer lacks '1\.', which the prompt .* needs; leave"
    ):
        make_prompts(NumberedListSpec(), words, 0)


def test_tokenizer_that_loses_line_breaks() -> None:
    every = [*re.findall(r"\S+", TEXT), *(f"{number}." for number in range(20))]
    tokenizer = make_word_tokenizer(list(dict.fromkeys([*every, *ITEMS])))
    with pytest.raises(SaltusError, match="numbered_list: the tokenizer lacks a line break, which"):
        make_prompts(NumberedListSpec(), tokenizer, 0)


# --- indirect objects --------------------------------------------------------------------------------------------


def test_indirect_object_is_the_name_that_stands_once(pairs: PreTrainedTokenizerBase) -> None:
    prompts = make_prompts(IndirectObjectSpec(prompts=64), pairs, 0)
    orders: Counter[tuple[str, bool]] = Counter()
    for prompt in prompts:
        names = re.findall("|".join(NAMES), prompt.text)
        assert len(names) == 3
        receiver, giver = prompt.target_text.strip(), names[2]
        assert names.count(receiver) == 1
        assert names.count(giver) == 2
        assert prompt.target_text == f" {receiver}"
        assert prompt.text.endswith(" to")
        (foil,) = prompt.foils
        assert read(pairs, foil) == f" {giver}"
        assert len(prompt.target) == len(foil) == 1
        orders[prompt.text.split()[0], names[0] == receiver] += 1
    assert set(orders.values()) == {8}  # of 4 templates in 2 orders
    assert len(orders) == 8
    assert len({prompt.target for prompt in prompts}) == len(NAMES)


def test_too_few_names_of_one_token(words: PreTrainedTokenizerBase) -> None:
    scarce = make_pair_tokenizer("When Mary and John and Anna went to the store\n" * 20, 400)
    with pytest.raises(
        SaltusError, match=rf"indirect_object: .* has 3 of 30 first names .* at least {FEWEST_NAMES} are"
    ):
        make_prompts(IndirectObjectSpec(), scarce, 0)
    with pytest.raises(SaltusError, match="indirect_object: the tokenizer lacks 'to'"):
        make_prompts(IndirectObjectSpec(), words, 0)


# --- what meets at the border ------------------------------------------------------------------------------------


def test_targets_of_several_tokens(pairs: PreTrainedTokenizerBase) -> None:
    prompt = encode_prompt(pairs, "mine", "Mary and John", " went to the", [" met at", " gave"])
    assert [read(pairs, (token,)) for token in prompt.target] == [" went", " to", " the"]
    assert [[read(pairs, (token,)) for token in foil] for foil in prompt.foils] == [[" met", " at"], [" gave"]]


def test_text_and_target_that_share_a_token_are_refused(pairs: PreTrainedTokenizerBase) -> None:
    for text, target in (("Mary and ", "John"), ("Mary an", "d")):
        with pytest.raises(
            SaltusError, match=rf"the prompt '{text}' and what follows, '{target}', do not meet between"
        ):
            encode_prompt(pairs, "mine", text, target)


def test_unknown_words_are_noticed_however_they_are_hidden() -> None:
    for tokenizer in (
        make_word_tokenizer(),
        make_word_tokenizer([*WORDS, "[?]"], "[?]"),
        make_word_tokenizer(WORDS, "0"),
    ):
        with pytest.raises(SaltusError, match="mine: the tokenizer lacks 'zebra', which the prompt 'a zebra b' needs"):
            encode_prompt(tokenizer, "mine", "a zebra b", " c")
        with pytest.raises(SaltusError, match="mine: the tokenizer lacks 'zebra', which the prompt 'a b zebra' needs"):
            encode_prompt(tokenizer, "mine", "a b", " zebra")
        assert encode_prompt(tokenizer, "mine", "a b", " c").target == (12,)


def test_a_prompt_without_tokens(words: PreTrainedTokenizerBase) -> None:
    with pytest.raises(SaltusError, match=r"mine: the prompt ' ' has no tokens"):
        encode_prompt(words, "mine", " ", "a")


# --- prompt files ------------------------------------------------------------------------------------------------


def test_prompt_file(pairs: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(
        '{"prompt": "Mary and", "target": " John", "foil": " Tom"}\n{"prompt": "to the\\u2028", "target": " park"}'
    )
    spec = describe_prompt_file(path)
    assert spec == PromptFileSpec(path=str(path), sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    assert build_capability(spec).name == "mine.jsonl"
    first, second = make_prompts(spec, pairs, 0)
    assert first == encode_prompt(pairs, "mine.jsonl", "Mary and", " John", [" Tom"])
    assert second.text == "to the\u2028"
    assert second.foils == ()
    path.write_text(path.read_text().replace("John", "Anna"))
    with pytest.raises(SaltusError, match=r"mine\.jsonl has changed since the scan was described"):
        make_prompts(spec, pairs, 0)


GOOD = '{"prompt": "a", "target": " b"}\n'


def test_a_byte_order_mark_and_blank_lines_are_skipped(pairs: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    first, second = '{"prompt": "Mary and", "target": " John"}', '{"prompt": "to the", "target": " park"}'
    path.write_bytes(f"{first}\n{second}".encode())
    plain = make_prompts(describe_prompt_file(path), pairs, 0)
    path.write_bytes(f"\ufeff\r\n{first}\r\n \t\r\n{second}\r\n\r\n\r\n".encode())
    assert make_prompts(describe_prompt_file(path), pairs, 0) == plain
    path.write_bytes(b"\n" * 5000 + first.encode())  # blank lines are no prompts
    assert make_prompts(describe_prompt_file(path), pairs, 0) == plain[:1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty; give one JSON object a line"),
        ("\n", "is empty"),
        (" \n\t\r\n", "is empty"),
        (GOOD + "\n" + "no\n", ":3: this is no JSON"),
        (GOOD + '{"prompt": "a"', ":2: this is no JSON"),
        ("[" * 100_000, ":1: this is no JSON"),
        ('["a", "b"]', ":1: this is no JSON object"),
        (GOOD * 2 + '{"prompt": "a"}', ":3: the key 'target' is missing"),
        (GOOD + '{"prompt": "a", "target": "b", "answer": "c"}', ":2: there is no key 'answer'; allowed are prompt"),
        ('{"prompt": 3, "target": "b"}', ":1: prompt is 3; allowed is text"),
        ('{"prompt": "a", "target": ""}', ':1: target is ""; allowed is text'),
        ('{"prompt": "a", "target": "b", "foil": "b"}', ":1: foil and target are both 'b'"),
        (GOOD * 100_001, "has more than 100,000 prompts, the most that is allowed; split it"),
        ('{"prompt": "a", "target": "b", "foil": ["c", 3]}', ":1: foil is 3; allowed is text"),
        ('{"prompt": "a", "target": "b", "foil": ["c", "b"]}', ":1: foil and target are both 'b'"),
        ('{"prompt": "a", "target": "b", "category": ""}', ':1: category is ""; allowed is text'),
        ('{"prompt": "a", "target": "b", "id": "x"}\n' * 2, ":2: the id 'x' is that of line 1 too"),
    ],
)
def test_wrong_prompt_files(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(content)
    with pytest.raises(SaltusError, match=f"^{re.escape(str(path))} ?{re.escape(message)}"):
        describe_prompt_file(path)


def test_prompt_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SaltusError, match="cannot be read"):
        describe_prompt_file(tmp_path / "none")
    with pytest.raises(SaltusError, match="cannot be read"):
        describe_prompt_file(tmp_path)
    path = tmp_path / "mine.jsonl"
    path.write_bytes(b"\xff")
    with pytest.raises(SaltusError, match="is not UTF-8"):
        describe_prompt_file(path)
    path.write_text(GOOD)
    monkeypatch.setattr(prompt_file, "MOST_BYTES", len(GOOD))
    describe_prompt_file(path)
    monkeypatch.setattr(prompt_file, "MOST_BYTES", len(GOOD) - 1)
    with pytest.raises(SaltusError, match="is larger than"):
        describe_prompt_file(path)
