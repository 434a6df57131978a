"""What no single field of a section shows: amounts, terms, cut-off and bands against each other."""

from pathlib import Path

from models.policy.bands import Band
from models.policy.documents import Text
from models.policy.errors import fault
from models.policy.policy import Section
from models.policy.price import EQUAL_INSTALMENT, METHODS, PART_MAX, instalment_parts, instalments
from streams.limits import LOAN_DUES_MAX, PPM


def check_terms(
    text: Text, name: str, section: Section, path: Path, bands: tuple[Band, ...]
) -> None:
    """Check one section; `path` is that of its bands. PolicyError where parts do not agree."""
    if section.amount_cents_min > section.amount_cents_max:
        raise text.fault((name, "amount_cents_min"), "is above amount_cents_max; lower it")
    tenors = section.tenors_days
    if len(set(tenors)) != len(tenors):
        raise text.fault((name, "tenors_days"), "names a tenor twice; remove one")
    method = METHODS.index(section.method)
    for tenor in tenors:
        if method == EQUAL_INSTALMENT and instalments(method, tenor) > LOAN_DUES_MAX:
            what = f"{tenor} days have more than {LOAN_DUES_MAX} instalments; shorten it"
            raise text.fault((name, "tenors_days"), what)
        for band in bands:
            if instalment_parts(method, tenor, band.rate_bps) >= PART_MAX:
                what = f"{band.rate_bps} over {tenor} days is over nine times the amount; lower it"
                raise fault(path, band.line, "rate_bps", what)
    last = bands[-1]
    if (
        section.matrix is None
        and section.model is None
        and (len(bands) > 1 or last.pd_ppm_max != PPM)
    ):
        what = f"without a model there is one band up to {PPM}; correct it or name a model"
        raise fault(path, last.line, "pd_ppm_max", what)
    if section.cut_off_pd_ppm is not None and last.pd_ppm_max < section.cut_off_pd_ppm:
        what = (
            f"the last band ends at {last.pd_ppm_max}, below the cut-off "
            f"{section.cut_off_pd_ppm} of {text.path.name}; add a band or lower the cut-off"
        )
        raise fault(path, last.line, "pd_ppm_max", what)
    for band in bands:
        if band.limit_cents < section.amount_cents_min:
            what = f"{band.limit_cents} is below amount_cents_min of {text.path.name}; raise it"
            raise fault(path, band.line, "limit_cents", what)
        if band.tenor_days_max < min(tenors):
            what = f"{band.tenor_days_max} allows none of tenors_days; raise it"
            raise fault(path, band.line, "tenor_days_max", what)
