"""Mean loss and in-context loss of passages of a text, against one forward pass for each passage."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from rich.console import Console
from tests.lm.tiny_suite import TEXT, make_model, make_pair_tokenizer, save_checkpoint

from saltus import api
from saltus.errors import SaltusError
from saltus.lm.capabilities.build import make_prompts
from saltus.lm.capabilities.text import describe_text
from saltus.lm.scanning import probe as probe_module
from saltus.lm.scanning.probe import probe
from saltus.specs.capabilities import TextSpec
from saltus.specs.checkpoints import PatchSpec, ScanSpec
from saltus.specs.criteria import CriterionSpec

LENGTH = 32


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> TextSpec:
    path = tmp_path_factory.mktemp("text") / "book.txt"
    path.write_text(TEXT)
    return describe_text(path).model_copy(update={"prompts": 5, "tokens": LENGTH})


def read_losses(passages: NDArray[np.int64]) -> NDArray[np.float64]:
    """[passage, token] the loss on each token but the first."""
    with torch.no_grad():
        logits = make_model(4, 600, 64, layers=2)(torch.from_numpy(passages)).logits[:, :-1].double()
    rest = torch.from_numpy(passages)[:, 1:]
    return torch.nn.functional.cross_entropy(logits.transpose(1, 2), rest, reduction="none").numpy()


@pytest.mark.parametrize("most", [2**27, 600 * (LENGTH - 1) * 2])
def test_losses_of_passages(text: TextSpec, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Passages are cut evenly from the tokens of the text; some at a time or all, the losses are the same."""
    monkeypatch.setattr(probe_module, "MOST_LOGITS", most)
    tokenizer = make_pair_tokenizer()
    tokens = np.array(tokenizer.encode(TEXT, add_special_tokens=False))
    whole = len(tokens) // LENGTH
    prompts = make_prompts(text, tokenizer, 0)
    passages = np.array([[*prompt.tokens, *prompt.target] for prompt in prompts])
    places = [
        int(np.flatnonzero((tokens[: whole * LENGTH].reshape(whole, LENGTH) == p).all(1))[0]) for p in passages[:1]
    ]
    assert (places[0], passages.shape) == (0, (5, LENGTH))
    assert (tokens[(whole - 1) * LENGTH : whole * LENGTH] == passages[-1]).all()
    losses, said = read_losses(passages), probe(make_model(4, 600, 64, layers=2), prompts, 256)
    assert_allclose(-np.log(said.probability), losses.mean(1), rtol=1e-5)
    early, late = losses[:, 1:3].mean(1), losses[:, -2:].mean(1)  # a sixteenth of 32 tokens each; token 0 has no loss
    assert_allclose(said.margin, early - late, rtol=1e-4, atol=1e-5)


def test_the_beginning_of_a_text_stands_before_each_passage(text: TextSpec) -> None:
    tokenizer = make_pair_tokenizer()
    plain, begun = (make_prompts(text, tokenizer, 0, bos=bos) for bos in (False, True))
    assert [prompt.tokens for prompt in begun] == [(tokenizer.bos_token_id, *prompt.tokens) for prompt in plain]
    assert [prompt.target for prompt in begun] == [prompt.target for prompt in plain]


def test_a_set_is_there_by_its_mean(text: TextSpec, tmp_path: Path) -> None:
    """The mean loss at both steps of a scan, and a level between them; the in-context loss of none is that low."""
    tokenizer, models = make_pair_tokenizer(), [make_model(4, 600, 64, layers=2), make_model(5, 600, 64, layers=2)]
    for step, model in enumerate(models):
        save_checkpoint(tmp_path / "m" / f"step{step}", model, tokenizer)
    prompts = make_prompts(text, tokenizer, 0)
    losses = [-np.log(probe(model, prompts, 8).probability).mean() for model in models]
    level, first = float(np.mean(losses)), int(np.argmin(losses))
    suite = f"folder:{tmp_path / 'm'}"
    for criterion, found in ((CriterionSpec(kind="loss", level=level), first), (None, None)):
        spec = ScanSpec(suite=suite, capabilities=(text,), criteria=(criterion,) if criterion else ())
        folder = api.scan(spec, out=tmp_path, device="cpu", console=Console(quiet=True))
        values = folder.records().curves.select(unit="book.txt")[0].values
        assert values.tolist() == [float(step == found) for step in range(2)]
    assert folder.records().criterion("book.txt").describe() == (
        "the loss late in a passage is at least 0.2 nats below the loss early in it"
    )
    spec = ScanSpec(suite=suite, capabilities=(text,), criteria=(CriterionSpec(),))
    with pytest.raises(SaltusError, match=r"criterion: book\.txt is a text, of which no model predicts every token"):
        api.scan(spec, out=tmp_path, device="cpu", console=Console(quiet=True))


def test_what_cannot_be_asked(text: TextSpec, tmp_path: Path) -> None:
    tokenizer = make_pair_tokenizer()
    with pytest.raises(
        SaltusError, match=r"book.txt has .* tokens, enough for 0 of 5 passages of 100000; ask for fewer"
    ):
        make_prompts(text.model_copy(update={"tokens": 100_000}), tokenizer, 0)
    with pytest.raises(SaltusError, match=r"book\.txt is a text; a patch asks for single answers"):
        PatchSpec(suite="x", size="m", recipient=0, donor=1, capability=text)
    (path := tmp_path / "bad.txt").write_bytes(b"\xff")
    with pytest.raises(SaltusError, match="is not UTF-8"):
        describe_text(path)
