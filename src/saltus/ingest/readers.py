"""Readers: functions from a file to rows. A new one is added here, with the files that it takes."""

from collections.abc import Callable
from typing import NamedTuple

from saltus.ingest.ledger import Ledger
from saltus.ingest.lm_eval import is_lm_eval, read_lm_eval
from saltus.ingest.rows import Reading, Source
from saltus.ingest.table import is_csv, is_json_lines, is_parquet, read_csv, read_json_lines, read_parquet
from saltus.ingest.tensorboard import is_event_file, read_event_file
from saltus.ingest.trainer_state import is_trainer_state, read_trainer_state
from saltus.ingest.wandb_chart import is_chart, read_chart
from saltus.specs.reading import ReadSpec


class Reader(NamedTuple):
    """One kind of file."""

    takes: Callable[[Source], bool]
    read: Callable[[Source, ReadSpec, Ledger], Reading]


READERS: dict[str, Reader] = {
    "results of lm-evaluation-harness": Reader(is_lm_eval, read_lm_eval),
    "trainer_state.json": Reader(is_trainer_state, read_trainer_state),
    "the chart of a wandb workspace": Reader(is_chart, read_chart),
    "CSV": Reader(is_csv, read_csv),
    "JSON lines": Reader(is_json_lines, read_json_lines),
    "Parquet": Reader(is_parquet, read_parquet),
    "TensorBoard": Reader(is_event_file, read_event_file),
}
"""What files are read as; the first that takes a file reads it."""
