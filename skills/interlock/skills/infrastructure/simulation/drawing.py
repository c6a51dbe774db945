"""A simulation as one SVG: load, latency, utilisation and score, replicas. The same simulation has the same bytes."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from interlock.skills.infrastructure.decision.evidence import leading_latency
from interlock.skills.infrastructure.decision.wanted import named
from interlock.skills.infrastructure.simulation.simulate import Simulation, Step

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, FAINT, LOAD, WARN, UP, DOWN, GRID = "#1f2933", "#7b8794", "#2563a8", "#c2410c", "#15803d", "#7e22ce", "#e4e7eb"
_DONE = ("done", "taken_back")
_STYLE: Any = {
    "svg.hashsalt": "interlock",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "path.simplify": False,
}


def draw(simulation: Simulation) -> bytes:
    """UTF-8 SVG without date or random ids."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(11, 9.2), layout="constrained")
        FigureCanvasSVG(figure)
        panels = figure.subplots(4, 1, sharex=True, gridspec_kw={"height_ratios": (1.1, 1.1, 1.2, 1.1)})
        unit, per_unit = _unit(simulation)
        times = [(step.state.at_ms - simulation.steps[0].state.at_ms) / per_unit for step in simulation.steps]
        _load(panels[0], simulation, times)
        _latency(panels[1], simulation, times)
        _score(panels[2], simulation, times)
        _replicas(panels[3], simulation, times)
        for panel in panels:
            _shade_broken(panel, simulation, times)
            panel.grid(True, color=GRID, linewidth=0.7)
            panel.set_axisbelow(True)
            panel.spines[["top", "right"]].set_visible(False)
            panel.set_xlim(0, max(times[-1], 1e-9))
            panel.set_ylim(bottom=0)
            handles, labels = panel.get_legend_handles_labels()
            if handles:
                panel.legend(handles, labels, loc="upper left", bbox_to_anchor=(1.005, 1.0), frameon=False, fontsize=8)
        panels[-1].set_xlabel(f"time ({unit})")
        blueprint = simulation.blueprint
        source = "offered load, computed service" if simulation.fed_back else "measurements as they were"
        figure.suptitle(
            f"{blueprint.name} {blueprint.version}: {source}", x=0.01, ha="left", fontsize=12, weight="bold"
        )
        out = io.BytesIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": "interlock"})
    return out.getvalue()


def _unit(simulation: Simulation) -> tuple[str, int]:
    length_ms = simulation.steps[-1].state.at_ms - simulation.steps[0].state.at_ms
    return ("h", 3_600_000) if length_ms > 3 * 3_600_000 else ("min", 60_000)


def _metric(step: Step, name: str) -> int | None:
    return next((sample.value for sample in step.state.metrics if sample.name == name), None)


def _series(simulation: Simulation, name: str, factor: float) -> list[float]:
    values = (_metric(step, name) for step in simulation.steps)
    return [float("nan") if value is None else value / factor for value in values]


def _load(panel: Axes, simulation: Simulation, times: list[float]) -> None:
    offered = [step.offered_mrps for step in simulation.steps]
    if any(value is not None for value in offered):
        panel.plot(
            times, [float("nan") if v is None else v / 1000 for v in offered], color=FAINT, lw=1, label="offered"
        )
    panel.plot(times, _series(simulation, "throughput_mrps", 1000), color=LOAD, lw=1.6, label="answered")
    least = simulation.blueprint.performance.throughput_min_mrps
    if least is not None:
        panel.axhline(least / 1000, color=WARN, lw=0.9, ls="--", label="throughput_min")
    panel.set_ylabel("req/s")
    panel.set_title("Load", loc="left", fontsize=9, color=FAINT)


def _latency(panel: Axes, simulation: Simulation, times: list[float]) -> None:
    name, target = leading_latency(simulation.blueprint)
    if target is None:
        name = "latency_p95_us"
    values = _series(simulation, name, 1000)
    panel.plot(times, values, color=LOAD, lw=1.6, label=named(name).removeprefix("latency "))
    panel.set_ylabel("ms")
    panel.set_title(named(name).capitalize(), loc="left", fontsize=9, color=FAINT)
    if target is None:
        return
    panel.axhline(target / 1000, color=WARN, lw=0.9, ls="--", label="target")
    known = sorted(value for value in values if value == value)
    if known and known[-1] > 4 * target / 1000:
        # A pile-up is hundreds of times the target: the axis ends where the target can still be seen.
        panel.set_ylim(0, 4 * target / 1000)
        panel.annotate(
            f"up to {known[-1]:,.0f} ms", (0.995, 0.9), xycoords="axes fraction", ha="right", color=WARN, fontsize=8
        )


def _score(panel: Axes, simulation: Simulation, times: list[float]) -> None:
    scaling = simulation.blueprint.scaling
    used = [step.decision.now.get("cpu_utilization_ppm") for step in simulation.steps]
    kept = [step.decision.now.get("memory_utilization_ppm") for step in simulation.steps]
    panel.plot(times, [_percent(value) for value in used], color=LOAD, lw=1, label="cpu of request")
    panel.plot(times, [_percent(value) for value in kept], color=FAINT, lw=1, label="memory of request")
    panel.plot(times, [_score_of(step) for step in simulation.steps], color=INK, lw=1.6, label="score")
    if scaling.mode == "thresholds":
        panel.axhline(scaling.scale_up_threshold_ppm / 10_000, color=UP, lw=0.9, ls="--", label="scale_up_threshold")
        panel.axhline(
            scaling.scale_down_threshold_ppm / 10_000, color=DOWN, lw=0.9, ls="--", label="scale_down_threshold"
        )
    else:
        target = simulation.blueprint.resources.cpu.target_utilization_ppm
        panel.axhline(target / 10_000, color=UP, lw=0.9, ls="--", label="cpu target_utilization")
    panel.set_ylabel("%")
    panel.set_title("Utilisation and weighted score", loc="left", fontsize=9, color=FAINT)


def _score_of(step: Step) -> float:
    """In percent; nothing where a part of it is missing."""
    whole = all(part.low_ppm is not None for part in step.decision.contributions)
    return step.decision.score_ppm / 10_000 if whole else float("nan")


def _percent(ppm: int | None) -> float:
    return float("nan") if ppm is None else ppm / 10_000


def _replicas(panel: Axes, simulation: Simulation, times: list[float]) -> None:
    from matplotlib.ticker import MaxNLocator

    scaling = simulation.blueprint.scaling
    replicas = [_afterwards(step) for step in simulation.steps]
    ready = [step.state.ready_replicas for step in simulation.steps]
    panel.fill_between(times, ready, step="post", color=LOAD, alpha=0.18, lw=0, label="serving")
    panel.step(times, replicas, where="post", color=LOAD, lw=1.6, label="replicas")
    for bound, label in ((scaling.max_replicas, "max_replicas"), (scaling.min_replicas, "min_replicas")):
        panel.axhline(bound, color=FAINT, lw=0.9, ls=":", label=label)
    marks: dict[str, tuple[str, str, str]] = {
        "scale_up": ("^", UP, "scale up"),
        "scale_down": ("v", DOWN, "scale down"),
        "optimise": ("D", WARN, "change of resources"),
    }
    for kind, (marker, colour, label) in marks.items():
        at = [index for index, step in enumerate(simulation.steps) if step.fate in _DONE and step.decision.kind == kind]
        if at:
            panel.plot(
                [times[i] for i in at], [replicas[i] for i in at], marker, color=colour, ms=5, ls="", label=label
            )
    undone = [index for index, step in enumerate(simulation.steps) if step.fate == "taken_back"]
    if undone:
        panel.plot(
            [times[i] for i in undone],
            [replicas[i] for i in undone],
            "x",
            color=WARN,
            ms=9,
            mew=1.6,
            ls="",
            label="taken back",
        )
    asked = [index for index, step in enumerate(simulation.steps) if step.fate == "would_ask"]
    if asked:
        first = [i for i in asked if i - 1 not in asked]
        panel.plot(
            [times[i] for i in first],
            [replicas[i] for i in first],
            "o",
            mfc="none",
            color=WARN,
            ls="",
            label="would ask",
        )
    panel.set_ylim(0, max(scaling.max_replicas, *replicas) + 0.6)
    panel.yaxis.set_major_locator(MaxNLocator(integer=True))
    panel.set_ylabel("pods")
    panel.set_title("Replicas", loc="left", fontsize=9, color=FAINT)


def _afterwards(step: Step) -> int:
    """The replicas once the decision was carried out."""
    return step.decision.then.get("replicas", step.state.replicas) if step.fate in _DONE else step.state.replicas


def _shade_broken(panel: Axes, simulation: Simulation, times: list[float]) -> None:
    """Where a target was violated, behind everything."""
    begin: float | None = None
    label: str | None = "a target is violated"
    step = times[1] - times[0] if len(times) > 1 else 0.0
    for at, broken in zip(
        [*times, times[-1] + step], [*(bool(s.broken) for s in simulation.steps), False], strict=True
    ):
        if broken and begin is None:
            begin = at
        elif not broken and begin is not None:
            shade: dict[str, Any] = {"color": WARN, "alpha": 0.13, "lw": 0, "zorder": 0}
            panel.axvspan(begin, min(at, times[-1]), label=label, **shade)
            begin, label = None, None
