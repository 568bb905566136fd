"""Random streams: addressed by name and numbers alone, distinct, and the same for ever."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from saltus.seeding import StreamName, Streams

ADDRESS_LENGTH: dict[StreamName, int] = {
    "task": 0,
    "init": 1,
    "data": 2,
    "evaluation": 0,
    "prompts": 1,
    "controls": 1,
    "bootstrap": 0,
    "pocket_init": 2,
    "pocket_data": 2,
    "phase": 1,
    "phase_data": 2,
}

Address = tuple[int, StreamName, tuple[int, ...]]

numbers = st.one_of(st.integers(0, 5), st.integers(0, 2**32 - 1))


@st.composite
def addresses(draw: st.DrawFn) -> Address:
    name = draw(st.sampled_from(sorted(ADDRESS_LENGTH)))
    length = ADDRESS_LENGTH[name]
    return draw(numbers), name, tuple(draw(st.lists(numbers, min_size=length, max_size=length)))


def first_of(address: Address) -> tuple[int, int]:
    """The first draw of the generator, and the integer for other libraries."""
    master_seed, name, rest = address
    streams = Streams(master_seed)
    return int(streams.generator(name, *rest).integers(2**63)), streams.integer(name, *rest)


def test_pinned_values() -> None:
    """A change here means that every task, initialisation and batch that was ever drawn is another one."""
    streams = Streams(0)
    assert streams.generator("data", 3, 7).integers(0, 1000, size=6).tolist() == [236, 842, 284, 580, 506, 765]
    assert streams.generator("task").integers(0, 1000, size=3).tolist() == [116, 607, 527]
    assert streams.generator("evaluation").integers(0, 1000, size=3).tolist() == [372, 855, 995]
    assert streams.integer("init", 3) == 3118132001673402714


@given(addresses(), addresses())
def test_streams_differ_where_their_addresses_do(one: Address, other: Address) -> None:
    for first, second in zip(first_of(one), first_of(other), strict=True):
        assert (first == second) == (one == other)


@given(numbers, numbers, numbers, st.integers(0, 2), st.integers(1, 5))
def test_neighbours_differ(master_seed: int, seed: int, block: int, changed: int, by: int) -> None:
    place = [master_seed, seed, block]
    m, s, b = ((number + by) % 2**32 if i == changed else number for i, number in enumerate(place))
    assert first_of((master_seed, "data", (seed, block))) != first_of((m, "data", (s, b)))


@given(st.permutations([(seed, block) for seed in range(3) for block in range(2)]))
def test_order_of_calls_changes_nothing(order: list[tuple[int, int]]) -> None:
    streams = Streams(5)
    drawn = {(seed, block): streams.generator("data", seed, block).random(4) for seed, block in order}
    streams.generator("task").random(100)
    for (seed, block), values in drawn.items():
        np.testing.assert_array_equal(values, Streams(5).generator("data", seed, block).random(4))


def test_streams_are_uncorrelated() -> None:
    drawn = np.stack([Streams(0).generator("data", seed, 0).random(4000) for seed in range(8)])
    correlation: NDArray[np.float64] = np.asarray(np.corrcoef(drawn))
    assert abs(correlation[np.triu_indices(8, k=1)]).max() < 4.5 / np.sqrt(
        4000
    )  # 28 pairs, so by chance once in 5000 choices of seeds


def test_integers_fit_a_signed_64_bit_number() -> None:
    values = [Streams(0).integer("init", seed) for seed in range(200)]
    assert len(set(values)) == 200
    assert 2**62 < max(values) < 2**63
    assert min(values) >= 0
