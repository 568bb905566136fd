"""The `trainer_state.json` that Hugging Face's Trainer leaves in its output folder and in each checkpoint."""

from saltus.ingest.ledger import Ledger
from saltus.ingest.rows import Reading, Row, Source, UnreadableError
from saltus.labels import Labels, clean, to_number, to_step
from saltus.specs.reading import ReadSpec

_NO_METRICS = {"step", "epoch"}


def is_trainer_state(source: Source) -> bool:
    """Whether it is a JSON object with a `log_history`."""
    return source.path.suffix == ".json" and isinstance(source.content, dict) and "log_history" in source.content


def read_trainer_state(source: Source, spec: ReadSpec, ledger: Ledger) -> Reading:
    """A row for each number of each entry of the log; each name, such as `eval_loss`, is a unit."""
    history = source.content["log_history"]
    if not isinstance(history, list):
        raise UnreadableError("has a log_history that is no list")
    entries = [entry for entry in history if isinstance(entry, dict)]
    return Reading(
        rows=[
            Row("", clean(key), value, Labels(step=to_step(entry.get("step"))))
            for entry in entries
            for key, given in entry.items()
            if key not in _NO_METRICS and (value := to_number(given)) is not None
        ]
    )
