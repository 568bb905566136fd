"""Commands on the heads of a trained run: transplant and ablate."""

from typing import Annotated

import typer

import saltus
from saltus.arguments import DEFAULT_ROOT
from saltus.cli.options import Out, OwnCode

Name = Annotated[str, typer.Argument(help="The folder of a run, or the beginning of the name of one in --out.")]
Seed = Annotated[int, typer.Option(help="The seed.")]


def transplant(
    name: Name,
    donor: Annotated[int, typer.Option("--from", help="Step of the donor, whose attention patterns are taken.")],
    recipient: Annotated[int, typer.Option("--to", help="Step of the recipient, which runs with them.")],
    seed: Seed = 0,
    donor_seed: Annotated[int | None, typer.Option("--from-seed", help="Seed of the donor, if it is another.")] = None,
    own_code: OwnCode = False,
    out: Out = DEFAULT_ROOT,
) -> None:
    """Put the attention patterns of a later step into an earlier one: do they bring what was learnt between?"""
    run = saltus.api.find_run(name, out)
    saltus.api.transplant(run, donor=donor, recipient=recipient, seed=seed, donor_seed=donor_seed, own_code=own_code)


def ablate(
    name: Name,
    step: Annotated[int | None, typer.Option(help="Step whose weights were kept; the last one if not given.")] = None,
    seed: Seed = 0,
    own_code: OwnCode = False,
    out: Out = DEFAULT_ROOT,
) -> None:
    """Leave out the output of each head in turn: what does each unit lose?"""
    saltus.api.ablate(saltus.api.find_run(name, out), step=step, seed=seed, own_code=own_code)
