"""The run of `saltus demo`: small enough for two minutes, large enough to show what the paper is about."""

from saltus.specs import LinearMapSpec, RunSpec, ScheduleSpec, TrainingSpec, TransformerSpec

DEMO = RunSpec(
    name="demo",
    task=LinearMapSpec(size=10, sparsity=3),
    model=TransformerSpec(layers=1, d_model=64, heads=8, d_mlp=128),
    training=TrainingSpec(
        steps=1500,
        batch_sequences=64,
        learning_rate=1e-3,
        compile="auto",
        evaluation_sequences=128,
        evaluate=ScheduleSpec(every=25),
        snapshot=ScheduleSpec(every=25),
        checkpoint=ScheduleSpec(every=250),
    ),
    seeds=8,
    # A map on which 1,500 steps show all that can happen: seeds that learn all rows, soon or late, and seeds that do
    # not. On other maps fewer seeds learn all of them in that time.
    master_seed=3,
)
