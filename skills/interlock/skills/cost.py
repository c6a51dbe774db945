"""What a run costs, in money and carbon: real usage times prices (config/prices.yaml)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import ROUND_UP, Decimal
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from interlock.bus.yaml12 import load_yaml
from interlock.skills.errors import SkillsError

_AMOUNT = re.compile(r"[0-9]{1,12}(\.[0-9]{1,12})?")
_MS_PER_HOUR = 3_600_000
_KB_PER_GB = 1 << 20


class RunUsage(Struct, frozen=True):
    """CPU µs (user and system), wall ms, peak resident kB, model tokens by model."""

    cpu_us: int = 0
    wall_ms: int = 0
    peak_rss_kb: int = 0
    tokens: dict[str, int] = {}


class Energy(Struct, frozen=True, forbid_unknown_fields=True):
    watts_per_core: str
    watts_per_gb: str
    pue: str
    assumption: str


class Prices(Struct, frozen=True, forbid_unknown_fields=True):
    """Amounts as decimal strings: USD per hour, per GB-hour, per 1,000 tokens; grid intensity in g CO2 per kWh."""

    cpu_hour_usd: str
    memory_gb_hour_usd: str
    gpu_hour_usd: str
    models_per_1k_tokens_usd: dict[str, str]
    storage_gb_month_usd: dict[str, str]
    egress_gb_usd: str
    energy: Energy
    grid_grams_per_kwh: dict[str, str]
    region: str


class RunCost(Struct, frozen=True):
    """Micro-USD, rounded up; carbon in grams as a decimal string with at most six decimals, rounded up."""

    usd_micro: int
    carbon_grams: str


def load_prices(path: Path, region: str = "") -> Prices:
    """Raises ValueError for a bad file, an amount that is none, or a region without grid intensity."""
    loaded = load_yaml(path.read_bytes(), source=str(path))
    prices = msgspec.convert(loaded.value, Prices)
    for where, text in _amounts(loaded.value, "$"):
        if not _AMOUNT.fullmatch(text):
            line, column = loaded.position(where)
            raise ValueError(f"{path}:{line}:{column}: {text!r} is no amount; write digits with a point, in quotes")
    if region:
        prices = msgspec.structs.replace(prices, region=region)
    if prices.region not in prices.grid_grams_per_kwh:
        known = ", ".join(sorted(prices.grid_grams_per_kwh))
        raise ValueError(f"{path}: no grid intensity for region {prices.region}; there is one for {known}")
    return prices


def _amounts(value: dict[str, Any], path: str) -> Iterator[tuple[str, str]]:
    """(JSON path, text) of everything that is a number, which is all but two texts."""
    for key, entry in value.items():
        where = f"{path}.{key}"
        if isinstance(entry, dict):
            yield from _amounts(entry, where)
        elif where not in ("$.region", "$.energy.assumption"):
            yield where, entry


def cost_of_run(usage: RunUsage, prices: Prices) -> RunCost:
    """Money: CPU time, memory held over the wall time, tokens. Carbon: energy × PUE × grid intensity of the region.
    Raises SkillsError for a model without a price: it is not free.
    """
    cpu_hours = Decimal(usage.cpu_us) / (_MS_PER_HOUR * 1000)
    gb_hours = Decimal(usage.peak_rss_kb) / _KB_PER_GB * usage.wall_ms / _MS_PER_HOUR
    usd = cpu_hours * Decimal(prices.cpu_hour_usd) + gb_hours * Decimal(prices.memory_gb_hour_usd)
    for model, count in usage.tokens.items():
        price = prices.models_per_1k_tokens_usd.get(model)
        if price is None:
            raise SkillsError(
                "unpriced_model", f"no price for {model}", "Add it to models_per_1k_tokens_usd in prices.yaml"
            )
        usd += Decimal(count) / 1000 * Decimal(price)
    energy = prices.energy
    watt_hours = cpu_hours * Decimal(energy.watts_per_core) + gb_hours * Decimal(energy.watts_per_gb)
    grams = watt_hours / 1000 * Decimal(energy.pue) * Decimal(prices.grid_grams_per_kwh[prices.region])
    micro_grams = int((grams * 1_000_000).to_integral_value(ROUND_UP))
    return RunCost(
        usd_micro=int((usd * 1_000_000).to_integral_value(ROUND_UP)),
        carbon_grams=f"{micro_grams // 1_000_000}.{micro_grams % 1_000_000:06d}".rstrip("0").rstrip("."),
    )
