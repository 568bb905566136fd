"""Which setting agrees best with the authors' numbers? One choice at a time is moved away from a start."""

from dataclasses import replace

from saltus.paper.setting import Setting, linear_map

START = Setting(learning_rate=1e-3)
MOVES = {
    "start": START,
    "lr-3e-4": replace(START, learning_rate=3e-4),
    "lr-3e-3": replace(START, learning_rate=3e-3),
}
runs = [
    linear_map(f"jumps-{name}", setting=setting, steps=1500, seeds=2, stop_when_solved=False)
    for name, setting in MOVES.items()
]
