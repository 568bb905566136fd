"""Distillation of attention: what is added to the loss, whose checkpoints, what is copied, and who is trained first."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from saltus.api import run, run_all
from saltus.errors import SaltusError
from saltus.models.build import build_model
from saltus.seeding import Streams
from saltus.specs import (
    DistillationSpec,
    LinearMapSpec,
    MambaSpec,
    MultiQueryRecallSpec,
    RunSpec,
    ScheduleSpec,
    TrainingSpec,
    TransformerSpec,
)
from saltus.studies.cells import vary_run
from saltus.tasks.build import build_task_of, read_facts
from saltus.train.ensemble import Ensemble, Member, list_members
from saltus.train.folder import RunFolder
from saltus.train.interventions.several import build_interventions

CPU = torch.device("cpu")
WIDE, NARROW = (TransformerSpec(layers=1, d_model=16, heads=heads, d_head=4, d_mlp=24) for heads in (4, 2))


def make(name: str, model: Any, *interventions: Any, size: int = 5, steps: int = 20) -> RunSpec:
    """A run with checkpoints at 0, 10, 20, ..."""
    return RunSpec(
        name=name,
        task=LinearMapSpec(size=size, sparsity=2),
        model=model,
        training=TrainingSpec(
            steps=steps,
            batch_sequences=32,
            learning_rate=1e-2,
            warmup=0,
            compile=False,
            evaluation_sequences=16,
            checkpoint=ScheduleSpec(first=10, every=10),
        ),
        intervention=interventions,
        seeds=1,
    )


TEACHER = make("teacher", WIDE)


def distil(**values: Any) -> DistillationSpec:
    return DistillationSpec.model_validate(
        {"teacher": TEACHER.run_id, "checkpoints": (20,), "weight": 2.0, "share": 0.25} | values
    )


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the teacher, trained in this process."""
    from tests.conftest import Silence

    from saltus.train.loop import Job, train

    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("teachers")
    folder = RunFolder(out / TEACHER.run_id)
    job = Job(TEACHER, folder, read_facts(TEACHER), (0,))
    with folder.training(TEACHER, job.facts):
        train([job], open_ensemble(TEACHER, out), Silence(), lambda _: folder.finish({"last_step": 20}))
    return out


def open_ensemble(spec: RunSpec, beside: Path, *, stacked: bool = False) -> Ensemble:
    torch.set_num_threads(1)
    return Ensemble([spec], list_members([spec]), CPU, stacked=stacked, beside=beside)


def open_lane(ensemble: Any) -> Any:
    """Its first lane, whose weights and batches are looked at."""
    return ensemble._lanes[0]


def attend(model: Any, weights: dict[str, torch.Tensor], tokens: torch.Tensor) -> NDArray[np.float64]:
    """[sequence, head, query, key] of a model of one layer."""
    model.load_state_dict(weights)
    with torch.no_grad():
        return model.forward_with_patterns(tokens[:, :-1].long())[1][0].double().numpy()


class Added:
    """What distillation adds to the loss of a student, at a step, with the weights that it starts from."""

    def __init__(self, spec: RunSpec, beside: Path, step: int = 0) -> None:
        self.lane = open_lane(open_ensemble(spec, beside))
        self.program, self.flat = self.lane._program, self.lane._parameters[0]
        self.tokens = self.lane._batch(0)[0]
        built = build_interventions(spec, build_task_of(spec, 0), beside)
        self.function = built.loss(step, self.program.model, self.tokens, None)

    def value(self, flat: torch.Tensor | None = None) -> float:
        assert self.function is not None
        return float(self.function(self.program.unflatten(self.flat if flat is None else flat)))

    def expect(self, beside: Path, checkpoint: int) -> float:
        """The same, written out: each head of the teacher goes to the nearest of the student's, for each row."""
        facts, tokens = read_facts(TEACHER), self.tokens[:8]
        arrays = RunFolder(beside / TEACHER.run_id).weights(checkpoint, 0)
        theirs = {name: torch.from_numpy(value) for name, value in arrays.items()}
        teacher = attend(build_model(WIDE, facts, 0), theirs, tokens)
        student = attend(self.program.model, self.program.unflatten(self.flat), tokens)
        nearest = [
            min(
                np.mean(
                    [
                        (p[query, : query + 1] * np.log(p[query, : query + 1] / q[query, : query + 1])).sum()
                        for p, q in zip(teacher[:, t], student[:, s], strict=True)
                    ]
                )
                for s in range(student.shape[1])
            )
            for t in range(4)
            for query in np.flatnonzero(facts.scored)  # one for each row
        ]
        return 2.0 * float(np.mean(nearest))


@pytest.mark.parametrize("model", [WIDE, NARROW], ids=["as wide", "narrow"])
def test_each_head_of_the_teacher_goes_to_the_nearest_of_the_student(beside: Path, model: Any) -> None:
    added = Added(make("student", model, distil()), beside)
    assert added.value() == pytest.approx(added.expect(beside, 20), rel=1e-4)


def test_a_student_with_the_weights_of_its_teacher_has_nothing_to_learn_from_it(beside: Path) -> None:
    added = Added(make("student", WIDE, distil()), beside)
    arrays = RunFolder(beside / TEACHER.run_id).weights(20, 0)
    same = added.program.flatten({name: torch.from_numpy(value) for name, value in arrays.items()})
    assert added.value() > 1e-2
    assert added.value(same) == pytest.approx(0.0, abs=1e-5)


def test_its_gradient_is_the_slope(beside: Path) -> None:
    added = Added(make("student", NARROW, distil()), beside)
    assert added.function is not None
    gradient = added.program.differentiate(added.function, added.flat, None)
    way = gradient / gradient.norm()
    slope = (added.value(added.flat + 1e-2 * way) - added.value(added.flat - 1e-2 * way)) / 2e-2
    assert float(gradient.norm()) == pytest.approx(slope, rel=2e-2)


def test_checkpoints_have_their_turn_and_the_last_one_stays(beside: Path) -> None:
    spec = make("student", NARROW, distil(checkpoints=(0, 10, 20), stretch=4))
    for step, checkpoint in ((0, 0), (3, 0), (4, 10), (8, 20), (19, 20)):
        added = Added(spec, beside, step)
        assert added.value() == pytest.approx(added.expect(beside, checkpoint), rel=1e-4)
    assert Added(make("student", NARROW, distil(until=5)), beside, 5).function is None


def test_the_placebo_is_the_teacher_before_training(beside: Path) -> None:
    built = build_model(WIDE, read_facts(TEACHER), Streams(0).integer("init", 0))
    kept = RunFolder(beside / TEACHER.run_id).weights(0, 0)
    assert all(np.array_equal(kept[name], value.detach().numpy()) for name, value in built.named_parameters())


def list_weights(spec: RunSpec, beside: Path, steps: int = 0) -> dict[str, NDArray[np.float32]]:
    ensemble = open_ensemble(spec, beside)
    ensemble.advance(steps)
    return ensemble.state()[Member(0, 0)]


def test_a_copy_begins_with_the_teachers_queries_and_keys_and_trains_without_it(beside: Path) -> None:
    plain, copied = (
        list_weights(make("student", WIDE, *helped), beside) for helped in ([], [distil(how="copy", weight=1.0)])
    )
    kept = RunFolder(beside / TEACHER.run_id).weights(20, 0)
    for name, value in copied.items():
        rows = 2 * len(value) // 3 if "query_key_value" in name else 0
        np.testing.assert_array_equal(value[rows:], plain[name][rows:])
        if rows:
            np.testing.assert_array_equal(value[:rows], kept[name][:rows])
            assert not np.array_equal(value[:rows], plain[name][:rows])
    assert Added(make("student", WIDE, distil(how="copy", weight=1.0)), beside).function is None


def test_without_weight_it_has_exactly_no_effect(beside: Path) -> None:
    plain, nothing = (list_weights(make("s", NARROW, *helped), beside, 8) for helped in ([], [distil(weight=0.0)]))
    for name, value in plain.items():
        np.testing.assert_array_equal(value, nothing[name])


def test_a_student_comes_nearer_to_its_teacher_than_one_that_has_none(beside: Path) -> None:
    distances: list[float] = []
    for helped in ([distil(weight=10.0)], []):
        weights = list_weights(make("student", NARROW, *helped), beside, 40)
        added = Added(make("student", NARROW, distil()), beside)
        named = {name: torch.from_numpy(value) for name, value in weights.items()}
        distances.append(added.value(added.program.flatten(named)))
    assert distances[0] < 0.5 * distances[1]


@pytest.mark.parametrize("stacked", [False, True])
def test_a_student_resumes_in_the_middle_of_a_stretch(beside: Path, stacked: bool) -> None:
    spec = make("student", NARROW, distil(checkpoints=(0, 20), stretch=8, schedule="cosine", until=15))
    unbroken = open_ensemble(spec, beside, stacked=stacked)
    unbroken.advance(6)
    saved = unbroken.state()
    expected = unbroken.advance(12)
    resumed = open_ensemble(spec, beside, stacked=stacked)
    resumed.load(6, saved)
    assert resumed.advance(12) == expected


@pytest.mark.usefixtures("in_this_process")
def test_a_teacher_is_trained_before_its_students_and_one_that_is_missing_is_named(tmp_path: Path) -> None:
    student = make("student", NARROW, distil())
    with pytest.raises(SaltusError, match=rf"student: .*'{TEACHER.run_id}' was given, .* no finished run .* train it"):
        run(student, out=tmp_path, device="cpu")
    assert not list(tmp_path.iterdir())
    folders = run_all([student, TEACHER], out=tmp_path, device="cpu")
    assert all(folder.finished for folder in folders)
    assert folders[0].weights(20, 0)["unembedding.weight"].any()


@pytest.mark.usefixtures("in_this_process")
def test_a_teacher_that_is_finished_for_fewer_steps_is_trained_further_first(tmp_path: Path) -> None:
    grid = ScheduleSpec(first=10, every=10)
    teacher = vary_run(TEACHER, training={"evaluate": grid, "snapshot": grid})
    run(teacher, out=tmp_path, device="cpu")
    student = make("student", NARROW, distil(teacher=teacher.run_id, checkpoints=(30,)))
    with pytest.raises(SaltusError, match=r"student: step: 30 was given"):
        run(student, out=tmp_path, device="cpu")
    folders = run_all([student, teacher.with_overrides(steps=30)], out=tmp_path, device="cpu")
    assert all(folder.finished for folder in folders)
    assert folders[1].path == tmp_path / teacher.run_id


@pytest.mark.usefixtures("in_this_process")
def test_a_student_whose_teacher_has_no_such_seed_fails_with_a_sentence(tmp_path: Path) -> None:
    wrong = make("student", NARROW, distil(seed=3))
    with pytest.raises(SaltusError, match=r"1 of 2 runs failed, .* seed: 3 was given; .* has the seeds 0 to 0"):
        run_all([wrong, TEACHER], out=tmp_path, device="cpu")


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        (lambda: make("s", NARROW, distil(checkpoints=(5,))), r"step: 5 was given; .* has the weights of 0, 10, 20"),
        (
            lambda: make("s", NARROW, distil(how="copy", weight=1.0)),
            r"'copy' was given, and attention_heads is 2 here and 4 in the",
        ),
        (lambda: make("s", NARROW, distil(), size=6), r"reads 10 tokens of 2 symbols, and this run 12 of 2"),
        (lambda: make("s", MambaSpec(d_model=16), distil()), r"changes attention, which model\.kind 'mamba' does not"),
        (lambda: distil(checkpoints=(0, 10)), r"several need how='loss' and a stretch"),
        (lambda: distil(teacher="../teacher-0123456789"), r"teacher"),
    ],
)
def test_a_teacher_that_does_not_fit_is_refused_before_training(
    beside: Path, spec: Callable[[], RunSpec], sentence: str
) -> None:
    with pytest.raises(SaltusError, match=sentence):
        run(spec(), out=beside, device="cpu")
    assert [path.name for path in beside.iterdir()] == [TEACHER.run_id]


def test_patterns_are_compared_where_each_sequence_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_this_process: None
) -> None:
    moving = {"task": MultiQueryRecallSpec(pairs=2, length=12, keys=5, values=4)}
    teacher = RunSpec.model_validate(make("moving", NARROW).model_dump() | moving)
    run(teacher, out=tmp_path, device="cpu")
    way = distil(teacher=teacher.run_id, weight=1.0, share=1.0)
    spec = RunSpec.model_validate(make("student", NARROW).model_dump() | moving | {"intervention": way.model_dump()})
    task, added = build_task_of(spec, 0), Added(spec, tmp_path)
    order = task.order_of(added.tokens.numpy())  # type: ignore[attr-defined]
    asked = order[:, task.facts.scored]
    even = torch.full((len(order), 1, 2, 11, 11), 1 / 11)
    sharp = even.clone()
    for n, places in enumerate(asked):
        sharp[n, :, :, places] = torch.eye(11)[0]
    given = iter([sharp, even])

    def attend(*_: Any) -> torch.Tensor:
        return next(given)

    monkeypatch.setattr("saltus.train.interventions.distillation.attend", attend)
    function = build_interventions(spec, task, tmp_path).loss(0, added.program.model, added.tokens, None)
    assert function is not None
    assert float(function({})) == pytest.approx(np.log(11), rel=1e-5)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"heads": (0,)}, r"heads is \(0,\)"),
        ({"layers": (0,)}, r"layers is \(0,\)"),
        ({"weight": 0.0}, "weight is 0.0"),
        ({"until": 5}, "until is 5"),
    ],
)
def test_what_a_copy_cannot_do_is_refused(values: dict[str, Any], named: str) -> None:
    spec = {"teacher": TEACHER.run_id, "checkpoints": (20,), "how": "copy"} | values
    with pytest.raises(SaltusError, match=f"{named} and how is 'copy', which copies the queries and keys of all heads"):
        DistillationSpec.model_validate(spec)
