"""Who lives in the simulated world: people and firms with a latent risk, money, habits and
trading partners.
"""

from typing import Any, NamedTuple

import numpy as np

from streams.buffers import Array

REGIONS = ("north", "east", "south", "west", "centre")
EDUCATIONS = ("primary", "secondary", "vocational", "bachelor")
INDUSTRIES = ("retail", "wholesale", "manufacturing", "services", "transport", "technology")

PARTNERS = 8  # trading partners of a firm
MISSING_SHARE = 0.06  # of attributes that an applicant leaves out


class Population(NamedTuple):
    """Everyone, row by row; people and firms share the arrays. Fixed once made."""

    ids: list[str]  # applicant tokens
    firm: Array  # bool[n]
    # float64[n], latent, standard normal, higher is worse; nobody in the platform sees it
    risk: Array
    # int64[n], a month's money: income of a person, a twelfth of a firm's revenue
    income_cents: Array
    age: Array  # int64[n], years of a person, months of a firm
    region: Array  # int64[n], index of REGIONS
    group: Array  # int64[n], index of EDUCATIONS for a person, of INDUSTRIES for a firm
    size: Array  # int64[n], dependents of a person, employees of a firm
    tenure_months: Array  # int64[n], in the job, or with the phone number
    debt_cents: Array  # int64[n], owed elsewhere
    noise: Array  # float64[n, 3], what bureau, device and tax office get wrong about the applicant
    # int64[n, PARTNERS], rows of the firms that a firm trades with; own row for people
    partners: Array
    activity: Array  # float64[n], share of all arrivals, sums to 1


def make_population(seed: int, applicants: int, firm_share: float) -> Population:
    """Draw `applicants` people and firms; the same seed gives the same population."""
    assert applicants >= 2, "a population has at least two applicants"
    rng = np.random.default_rng([seed, 1])
    firm = np.arange(applicants) < round(applicants * firm_share)
    rng.shuffle(firm)
    risk = rng.standard_normal(applicants)
    # Better risks earn more, stay longer and owe less, with much noise: features carry part of
    # the truth.
    income = np.exp(rng.normal(13.3, 0.5, applicants) - 0.12 * risk)
    income[firm] = np.exp(rng.normal(16.2, 0.9, int(firm.sum())) - 0.15 * risk[firm])
    age = np.clip(rng.normal(36, 10, applicants) - 1.5 * risk, 18, 75)
    age[firm] = np.clip(rng.gamma(2.0, 30.0, int(firm.sum())) * np.exp(-0.15 * risk[firm]), 1, 480)
    size = rng.poisson(0.9, applicants)
    size[firm] = 1 + rng.poisson(income[firm] / 4e6)
    debt = income * np.exp(rng.normal(0.2, 0.8, applicants) + 0.35 * risk)
    weight = rng.pareto(2.5, applicants) + 0.4
    return Population(
        ids=[f"{'f' if firm[row] else 'p'}{seed:x}-{row}" for row in range(applicants)],
        firm=firm,
        risk=risk,
        income_cents=income.astype(np.int64),
        age=age.astype(np.int64),
        region=rng.integers(0, len(REGIONS), applicants),
        group=np.where(
            firm,
            rng.integers(0, len(INDUSTRIES), applicants),
            np.clip(np.round(1.6 - 0.4 * risk + rng.normal(0, 0.9, applicants)), 0, 3),
        ).astype(np.int64),
        size=size.astype(np.int64),
        tenure_months=(rng.gamma(1.5, 24.0, applicants) * np.exp(-0.3 * risk)).astype(np.int64),
        debt_cents=debt.astype(np.int64),
        noise=rng.standard_normal((applicants, 3)),
        partners=_trade(rng, firm, risk, weight),
        activity=weight / weight.sum(),
    )


def _trade(rng: np.random.Generator, firm: Array, risk: Array, weight: Array) -> Array:
    """Give every firm PARTNERS firms: half like itself in risk (trouble spreads), half by size."""
    n = firm.shape[0]
    partners = np.repeat(np.arange(n)[:, None], PARTNERS, axis=1)
    rows = np.flatnonzero(firm)
    if rows.size == 0:
        return partners
    order = rows[np.argsort(risk[rows] + rng.normal(0, 0.3, rows.size))]
    place = np.empty(n, np.int64)
    place[order] = np.arange(rows.size)
    half = PARTNERS // 2
    steps = rng.integers(1, 9, (rows.size, half)) * rng.choice([-1, 1], (rows.size, half))
    partners[rows, :half] = order[(place[rows][:, None] + steps) % rows.size]
    share = weight[rows] / weight[rows].sum()
    partners[rows, half:] = rng.choice(rows, (rows.size, PARTNERS - half), p=share)
    return partners


def attributes(population: Population, row: int, seed: int) -> dict[str, Any]:
    """Return what the applicant states in an application; some of it is left out, always the same
    fields.
    """
    region = REGIONS[int(population.region[row])]
    if population.firm[row]:
        stated: dict[str, Any] = {
            "revenue_cents": int(population.income_cents[row]) * 12,
            "firm_age_months": int(population.age[row]),
            "employees": int(population.size[row]),
            "existing_debt_cents": int(population.debt_cents[row]),
            "industry": INDUSTRIES[int(population.group[row])],
            "region": region,
        }
    else:
        stated = {
            "income_cents": int(population.income_cents[row]),
            "age_years": int(population.age[row]),
            "employment_months": int(population.tenure_months[row]),
            "dependents": int(population.size[row]),
            "existing_debt_cents": int(population.debt_cents[row]),
            "education": EDUCATIONS[int(population.group[row])],
            "region": region,
        }
    # A cheap stable draw a field: a multiplicative hash of row, field and seed.
    names = list(stated)
    for k, name in enumerate(names):
        draw = ((row * 31 + k) * 0x9E3779B97F4A7C15 + seed * 0xBF58476D1CE4E5B9) >> 20 & 0xFFFF
        if draw < MISSING_SHARE * 0x10000:
            del stated[name]
    return stated


def signals(population: Population, row: int, noise: float) -> list[tuple[str, str, float]]:
    """Return what bureau and partners say of the applicant: (source, name, value).

    `noise` in -1..1 varies from one enquiry to the next; the rest is the applicant's own.
    """
    risk = float(population.risk[row])
    bureau, device, tax = (float(x) for x in population.noise[row])
    told = [
        (
            "bureau",
            "score",
            round(min(850.0, max(300.0, 620 - 50 * risk + 35 * bureau + 8 * noise))),
        ),
        ("bureau", "open_loans", round(max(0.0, 1.2 + 0.7 * risk + bureau))),
        ("bureau", "worst_dpd_days", round(max(0.0, 16 * risk + 12 * bureau - 8))),
        ("device", "risk", round(min(1.0, max(0.0, 0.35 + 0.1 * risk + 0.12 * device)), 3)),
    ]
    if population.firm[row]:
        told.append(("tax", "grade", round(min(5.0, max(1.0, 2.5 + 0.7 * risk + 0.7 * tax)))))
    else:
        told.append(("telco", "tenure_months", float(population.tenure_months[row])))
    return told
