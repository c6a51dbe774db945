"""A report as one HTML page with its plots inside: no script, nothing from outside. The same report gives the same bytes.

Run as a program (`python -m interlock.agents.reports.pages`, report on standard input): matplotlib's memory ends with it.
"""

from __future__ import annotations

import html
import io
import json
import re
import sys
from decimal import Decimal
from typing import Any

from interlock.agents.reports.rendering import TITLES, heading

_STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--paper:#fff;--line:#d5dae0;--soft:#5b6570}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ed;--paper:#14171b;--line:#343a42;--soft:#9aa4af}
svg{filter:invert(1) hue-rotate(180deg)}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}h3{font-size:1rem;color:var(--soft)}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%}td,th{border-bottom:1px solid var(--line);
padding:.3rem .6rem;text-align:left;vertical-align:baseline}
td:not(:first-child){min-width:3rem;max-width:24rem;overflow-wrap:break-word}
th{color:var(--soft);font-weight:600;white-space:nowrap}tr>th:first-child:not(:last-child):has(+td){width:14rem}
td{font-variant-numeric:tabular-nums}svg{max-width:100%;height:auto}summary{cursor:pointer}
"""
_SALT = "interlock"
_FOLDED = 4  # items of a list in a cell; of more, only how many
_FEW = 10  # bars, for which the picture has room at least: a single day is no wall


def report_page(report: dict[str, Any]) -> str:
    """Needs the extra `plots`; raises ImportError without it."""
    title = f"{TITLES[report['kind']]} of {report['workspace']}, {report['period']}"
    body = [f"<h1>{html.escape(title)}</h1>"]
    drawn = plot(report)
    for name, value in report.items():
        if name in ("kind", "version", "workspace", "period"):
            continue
        body += _section(name, value, 2)
        if name == "summary" and drawn:
            body.append(drawn)
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}"><title>{html.escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body>{''.join(body)}</body></html>\n"
    )


def plot(report: dict[str, Any]) -> str:
    """The picture of a report as SVG; empty for kinds that have none, or nothing to show."""
    match report["kind"]:
        case "cost":
            days = report["trajectory"]["days"]
            return _bars([day["date"][5:] for day in days], [Decimal(day["costUSD"]) for day in days], "USD a day")
        case "carbon":
            goals = report["goals"]
            return _bars(
                [goal["goal"][-6:] for goal in goals], [Decimal(goal["gramsCO2"]) for goal in goals], "g CO2 a goal"
            )
        case "signatures":
            goals = report["goals"][:40]
            return _bars(
                [goal["goal"][-6:] for goal in goals], [Decimal(goal["hops"]) for goal in goals], "hops a goal"
            )
    return ""


def _bars(names: list[str], values: list[Decimal], unit: str) -> str:
    if not any(values):
        return ""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot

    with mpl.rc_context({"svg.hashsalt": _SALT, "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9}):
        figure, axes = pyplot.subplots(figsize=(8, 2.4))
        axes.bar(range(len(values)), [float(value) for value in values], color="#2f6f9f", width=0.7)
        step = max(1, len(names) // 12)
        axes.set_xticks(range(0, len(names), step), names[::step], rotation=45 if len(names) > 8 else 0, ha="center")
        axes.set_xlim(-0.6, max(len(values), _FEW) - 0.4)
        axes.set_ylabel(unit)
        axes.spines[["top", "right"]].set_visible(False)
        figure.tight_layout()
        out = io.StringIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        pyplot.close(figure)
    return re.sub(r"^.*?(?=<svg)", "", out.getvalue(), count=1, flags=re.DOTALL)


def _section(name: str, value: Any, level: int) -> list[str]:
    head = f"<h{level}>{html.escape(heading(name))}</h{level}>"
    if isinstance(value, dict):
        plain = {key: part for key, part in value.items() if not isinstance(part, (dict, list))}
        rows = "".join(
            f"<tr><th>{html.escape(heading(key))}</th><td>{_cell(part)}</td></tr>" for key, part in plain.items()
        )
        found = [head, _table(rows) if rows else ""]
        for key, part in value.items():
            if key not in plain:
                found += _section(key, part, min(level + 1, 4))
        return found
    if isinstance(value, list) and value and isinstance(value[0], dict):
        columns = list(value[0])
        heads = "".join(f"<th>{html.escape(heading(key))}</th>" for key in columns)
        rows = "".join(
            "<tr>" + "".join(f"<td>{_cell(row.get(key))}</td>" for key in columns) + "</tr>" for row in value
        )
        return [head, _table(f"<tr>{heads}</tr>{rows}")]
    if isinstance(value, list):
        return [
            head,
            "<ul>" + "".join(f"<li>{_cell(item)}</li>" for item in value) + "</ul>" if value else "<p>none</p>",
        ]
    return [head, f"<p>{_cell(value)}</p>"]


def _table(rows: str) -> str:
    """In a region that scrolls by itself, with keys too."""
    return f'<div class="scroll" tabindex="0" role="region" aria-label="Table"><table>{rows}</table></div>'


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        told = ", ".join(html.escape(str(item)) for item in value) or "—"
        return told if len(value) <= _FOLDED else f"<details><summary>{len(value)}</summary>{told}</details>"
    return html.escape(str(value))


if __name__ == "__main__":
    sys.stdout.write(report_page(json.load(sys.stdin)))
