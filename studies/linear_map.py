"""The paper's linear map: S=16, s=3, one layer, width 128, 8 heads (arXiv 2606.25010).

Optimiser, learning rate and batch are not stated there; these are the choices of the public replications.
"""

from saltus import Cell, LinearMapSpec, RunSpec, ScheduleSpec, Study, TrainingSpec, TransformerSpec

study = Study(
    cells=[
        Cell(
            sparsity=3,
            patterns=True,
            run=RunSpec(
                name="linear-map-s3",
                task=LinearMapSpec(size=16, sparsity=3),
                model=TransformerSpec(layers=1, d_model=128, heads=8, d_mlp=512),
                training=TrainingSpec(
                    steps=10_000,
                    batch_sequences=256,
                    learning_rate=1e-3,
                    evaluate=ScheduleSpec(every=50),
                    snapshot=ScheduleSpec(every=100),
                    checkpoint=ScheduleSpec(every=250),
                ),
                seeds=3,
            ),
        )
    ]
)
