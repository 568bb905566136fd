"""What was found, as tables on a terminal."""

import numpy as np
from rich import box
from rich.table import Column, Table
from rich.text import Text

from saltus.curves import Curves, Emergence, Rule
from saltus.errors import SaltusError
from saltus.lm.audit.folder import AuditRecords
from saltus.lm.patching.records import PatchRecords
from saltus.lm.scanning.records import Question, ScanRecords
from saltus.measure.comparison import ArmComparison
from saltus.measure.groups import summarise_groups
from saltus.measure.intervals import Estimate
from saltus.report.audit.section import sort_findings
from saltus.report.curves.words import count_emerged, format_interval, format_step
from saltus.report.html.labels import plural
from saltus.report.patch.summary import describe_verdict, format_change, summarise_patch
from saltus.report.run.summary import SeedSummary, describe_free, describe_result, find_there, summarise
from saltus.report.scan.patterns import compare_patterns, describe_lead
from saltus.report.scan.tokens import format_tokens
from saltus.seeding import Streams
from saltus.specs.checkpoints import EffectUnit
from saltus.train.records import RunRecords

_SHOWN_HEADS = 10
_BLOCKS = " ▁▂▃▄▅▆▇█"
_BAR_WIDTH = 14


def tabulate_curves(curves: Curves, rule: Rule | None = None) -> Table:
    """A line for each curve: the interval in which it emerged, when it was lost, and the steps that were missing.

    By the curves' own rule, or by another one.
    """
    found = curves.emergences(rule)
    title = f"{count_emerged(found)} of {plural(len(found), 'curve')} emerged: {found.rule.describe(curves.measure)}"
    names = [Column(name, overflow="fold") for name in ("group", "seed", "unit")]
    table = Table(*names, "interval", "lost at", "missing", title=Text(title))
    for emergence in found:
        _add_row(table, *emergence.key, *_show(emergence), ", ".join(f"{step:,}" for step in emergence.missing))
    return table


def tabulate_run(records: RunRecords) -> Table:
    """A line for each seed, for a terminal of 80 columns: first and last unit, the whole task, units over time."""
    summary = summarise(records)
    total, noun = len(summary.units), summary.noun
    caption = f"Intervals are (last step without, first step with]. The bar is the share of {noun}s over time."
    free = describe_free(records, summary)
    table = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 1),
        title=Text(describe_result(summary)),
        title_justify="left",
        title_style="bold",
        caption=Text(f"{caption} {free}" if free else caption),
        caption_justify="left",
    )
    table.add_column("seed", justify="right")
    table.add_column(Text(f"first {noun}"), justify="right", no_wrap=True)
    table.add_column(Text(f"last {noun}"), justify="right")
    table.add_column(Text(f"all {total} {noun}s"))
    table.add_column(Text(f"0 to {summary.end}"), no_wrap=True, min_width=_BAR_WIDTH)
    for seed, bar in zip(summary.seeds, _draw_bars(records), strict=True):
        table.add_row(
            str(seed.seed),
            "-" if seed.first is None else format_interval(seed.first),
            "-" if seed.last is None else format_interval(seed.last),
            _describe_task(seed, total, noun),
            Text(bar, style="green" if not seed.task.censored else "yellow"),
        )
    return table


def tabulate_scan(records: ScanRecords) -> Table:
    """For each capability, size and seed the interval in which the set emerged, and how many of its prompts did."""
    tokens = ["tokens seen"] if records.tokens else []
    names = ("capability", "size", "seed", "emerged in", *tokens, "lost at", "prompts that emerged")
    others = [(name, records.criterion(name)) for name in records.capabilities]
    told = "; ".join(f"{name} is right where {each.describe()}" for name, each in others if each.kind != "top-1")
    table = Table(*names, title=_title_scan(records), caption=Text(told) if told else None)
    found = records.find_emergences()
    by_key = {emergence.key: emergence for emergence in found}
    for name in records.capabilities:
        *categories, every = records.list_sets(name)
        for of_set in (every, *categories):
            units = records.list_members(of_set)
            for item in (emergence for emergence in found if emergence.key.unit == of_set.unit):
                prompts = count_emerged([by_key[item.key._replace(unit=unit)] for unit in units])
                interval, lost = _show(item)
                seen = [format_tokens(records, item)] if tokens else []
                _add_row(table, of_set.unit, *item.key[:2], interval, *seen, lost, f"{prompts} of {len(units)}")
        table.add_section()
    return table


def tabulate_sizes(records: ScanRecords) -> Table:
    """For each capability and size the number of seeds, and both summaries of the step."""
    table = Table("capability", "size", "seeds", "emerged", "median step [95%]", "mean as in the paper")
    found, generator = records.curves.emergences(), Streams(0).generator("bootstrap")
    for name in records.capabilities:
        sets = [emergence for emergence in found if emergence.key.unit == Question(name).unit]
        for size in summarise_groups(sets, records.seeds, records.end, generator):
            median = "nothing measured" if size.median is None else format_step(size.median)
            counts = (str(size.measured), str(size.emerged))
            _add_row(table, name, size.group, *counts, median, f"{size.paper_mean:,.0f}")
    return table


def tabulate_orders(records: ScanRecords) -> list[Table]:
    """Known patterns against each capability: which came first, in how many seeds; no table if none was read."""
    table = Table("capability", "size", "pattern", "pattern first", "capability first", "not told", "steps ahead")
    table.title = Text(f"a pattern is there with its first head: {records.strongest.rule.describe('mass')}")
    for each in compare_patterns(records):
        order, cells = each.order, (each.capability, each.size, each.pattern)
        counts = (f"{order.before} of {order.seeds}", str(order.after), str(order.untold + order.neither))
        _add_row(table, *cells, *counts, describe_lead(order))
    return [table] if table.row_count else []


def tabulate_patch(records: PatchRecords, unit: EffectUnit = "probability") -> tuple[Table, str]:
    """The heads whose patterns change most in this unit, and the verdict in words.

    Raises:
        SaltusError: if no prompt has what the unit asks for.

    """
    result = summarise_patch(records)
    without = result.without_foil
    if unit == "logit-difference" and without == len(records.prompts):
        raise SaltusError(f"unit: the prompts of {records.path} have no foil of one token; choose log-probability")
    patched = [effect for effect in result.effects.heads if effect.kind == "patch"]
    names = {"probability": "change of the target's probability", "log-probability": "of its log, nats"}
    shown: list[EffectUnit] = ["probability", "log-probability"]
    if without < len(records.prompts):
        shown.append("logit-difference")
        names["logit-difference"] = "of its logit less the foil's, nats"
    table = Table("layer", "head", *(names[each] for each in shown))
    if without:
        table.caption = Text(
            f"{without} of {len(records.prompts)} prompts have no foil of one token: no logit difference"
        )
    for head in sorted(patched, key=lambda e: -abs(e.of(unit).estimate))[:_SHOWN_HEADS]:
        _add_row(table, str(head.layer), str(head.head), *(format_change(head.of(each)) for each in shown))
    return table, describe_verdict(result)


def tabulate_audit(records: AuditRecords) -> Table:
    """The findings, faults first."""
    table = Table("severity", "kind", "size", "seed", "step", "what")
    for row in sort_findings(records):
        step = "" if row["step"] is None else f"{row['step']:,}"
        _add_row(table, row["severity"], row["kind"], row["size"], row["seed"], step, row["detail"])
    return table


def _add_row(table: Table, *cells: str) -> None:
    """Cells as they stand: names are anybody's, and never markup."""
    table.add_row(*map(Text, cells))


def _show(emergence: Emergence) -> tuple[str, str]:
    """When it came, and when it went."""
    return format_interval(emergence), "" if emergence.lost is None else f"{emergence.lost:,}"


def _describe_task(seed: SeedSummary, total: int, noun: str) -> Text:
    text = Text(format_interval(seed.task), style="green" if not seed.task.censored else "")
    if seed.task.censored:
        text.append(f" ({seed.learned} of {total} {noun}s)", style="dim")
    return text


def _draw_bars(records: RunRecords) -> list[str]:
    """[seed] the share of units that are there, at steps spread evenly over training, as block characters."""
    steps = records.evaluated_steps
    at = np.searchsorted(steps, np.linspace(0, steps[-1], _BAR_WIDTH + 1)[1:], side="right") - 1
    share = find_there(records)[:, at].mean(axis=2)  # [seed, block]
    level = np.ceil(share * (len(_BLOCKS) - 1)).astype(int)
    level -= (level == len(_BLOCKS) - 1) & (share < 1.0)  # the full block is for all units alone
    return ["".join(_BLOCKS[value] for value in row) for row in level]


def _title_scan(records: ScanRecords) -> Text:
    listed = sum(len(steps) for steps in records.runs["steps"].to_pylist())
    measured = len(records.probes.group_by(["size", "seed", "step"]).aggregate([]))
    state = "" if records.finished else ", not finished"
    missing = f", {len(records.missing)} missing" if len(records.missing) else ""
    return Text(f"{records.spec.suite}: {measured} of {listed} checkpoints measured{missing}{state}")


def tabulate_comparison(compared: ArmComparison) -> tuple[Table, Table]:
    """The arms; and every pair of them, effects first."""
    arms = Table("arm", "seeds", "units", "emerged", "median step [95%]", f"share by {compared.horizon:,.0f} [95%]")
    for arm in compared.arms:
        counts = (f"{arm.seeds:,}", f"{arm.units:,}", f"{arm.emerged:,}")
        arms.add_row(Text(arm.name), *counts, format_step(arm.median), _say_estimate(arm.solved, ".2f"))
    pairs = Table("B against A", "ratio of medians", "difference of shares", "difference of means, steps", "p (Holm)")
    for pair in compared.pairs:
        pairs.add_row(
            Text(f"{pair.b} against {pair.a}"),
            _say_estimate(pair.contrast.median_ratio, ".2f"),
            _say_estimate(pair.contrast.share_difference, "+.2f"),
            _say_estimate(pair.contrast.mean_difference, "+,.0f"),
            f"{pair.adjusted:.3g}",
        )
    return arms, pairs


def _say_estimate(estimate: Estimate, form: str) -> str:
    lower, upper = (f"{end:{form}}" if np.isfinite(end) else "∞" for end in (estimate.lower, estimate.upper))
    value = "open" if estimate.value is None or not np.isfinite(estimate.value) else f"{estimate.value:{form}}"
    return f"{value} [{lower}, {upper}]"
