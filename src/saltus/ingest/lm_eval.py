"""Results of lm-evaluation-harness, old and new.

Old files have `results.TASK.METRIC` and `METRIC_stderr`, and the number of shots in `config.num_fewshot`. Since version
0.4 a metric is `NAME,FILTER`, such as `acc,none` beside `acc_stderr,none`, and the shots are in `n-shot.TASK`
(EleutherAI/lm-evaluation-harness, lm_eval/result_schema.py). Samples are not read.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from saltus.ingest.ledger import Ledger
from saltus.ingest.rows import Reading, Row, Source, UnreadableError, name_task
from saltus.labels import clean, to_number
from saltus.specs.reading import ReadSpec

_MODEL_KEYS = ("pretrained", "model", "model_name", "engine", "path")
_NO_METRICS = {"alias", "name", "sample_len", "sample_count"}


def is_lm_eval(source: Source) -> bool:
    """Whether it is a JSON object with `results` and what they were made with."""
    return (
        source.path.suffix == ".json"
        and isinstance(source.content, dict)
        and "results" in source.content
        and bool({"config", "versions", "configs"} & source.content.keys())
    )


def read_lm_eval(source: Source, spec: ReadSpec, ledger: Ledger) -> Reading:
    """A row for each task and metric; tasks with shots are units of their own, such as `piqa, 5-shot`."""
    content: Mapping[str, Any] = source.content
    if not isinstance(content["results"], dict):
        raise UnreadableError("has results that are no JSON object")
    config = _take(content, "config")
    arguments = _read_arguments(config.get("model_args"))
    model = next((arguments[key] for key in _MODEL_KEYS if arguments.get(key)), content.get("model_name"))
    revision = arguments.get("revision") or config.get("model_revision")
    if revision is None and "iteration" in arguments:  # as GPT-NeoX states it
        revision = f"step{arguments['iteration']}"
    return Reading(
        rows=list(_list_rows(content, config)),
        model=str(model or ""),
        revision=str(revision or ""),
        written=to_number(content.get("date")),
    )


def _list_rows(content: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[Row]:
    shots = _take(content, "n-shot")
    tasks: dict[str, Any] = {**_take(content, "groups"), **content["results"]}
    for task, metrics in tasks.items():
        if not isinstance(metrics, dict):
            continue
        count = to_number(shots.get(task, config.get("num_fewshot"))) or 0.0
        unit = name_task(task, count)
        for key, given in metrics.items():
            name, comma, kind = key.partition(",")
            value = to_number(given)
            if value is None or name in _NO_METRICS or name.endswith("_stderr"):
                continue
            error = to_number(metrics.get(f"{name}_stderr{comma}{kind}"))
            metric = name if kind in ("", "none") else key
            yield Row(unit, clean(metric), value, error=float("nan") if error is None else error)


def _take(content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """A JSON object in another one; empty where it is anything else."""
    value = content.get(key)
    return value if isinstance(value, dict) else {}


def _read_arguments(given: Any) -> Mapping[str, Any]:
    """`pretrained=EleutherAI/pythia-160m,revision=step1000` as a mapping, which newer versions write themselves."""
    if isinstance(given, dict):
        return given
    parts = str(given or "").split(",")
    return {key.strip(): value.strip() for key, equals, value in (part.partition("=") for part in parts) if equals}
