"""What is allowed in a policy and worth a second look: rules and bands that change nothing."""

from collections.abc import Iterator

from models.policy.build import SectionPlan
from models.policy.loader import PLATFORM
from models.policy.policies import Policies, PolicyInfo
from models.policy.reach import cases_of, is_covered
from models.policy.tables import SECTIONS


def notes(policies: Policies, row: int) -> Iterator[str]:
    """Yield one sentence, with file and line, for each such place of the policy in `row`.

    What is seen, and what is not, stands in `models/policy/reach.py`.
    """
    info, plan = policies.infos[row], policies.plans[row]
    for name, section in zip(SECTIONS, plan.sections, strict=True):
        if section is not None:
            yield from _covered_rules(info, name, section)
            yield from _unused_bands(info, name, section)


def _covered_rules(info: PolicyInfo, name: str, section: SectionPlan) -> Iterator[str]:
    """Yield rules that hold only where one other does: they are never alone in refusing."""
    platform = sum(rule.label.startswith(f"{PLATFORM}.") for rule in section.rules)
    count = len(getattr(info.document, name).rules)
    taken = [cases_of(rule.node) for rule in section.rules]
    for place in range(platform, platform + count):
        mine, rule = taken[place], section.rules[place]
        for other, theirs in enumerate(taken):
            if other == place or not mine or not theirs or not is_covered(mine, theirs):
                continue
            if other > place and is_covered(theirs, mine):
                continue  # each covers the other: the later one is told
            by = section.rules[other]
            same = ", and gives its reason: remove one" if by.reason == rule.reason else ""
            line = info.text.line((name, "rules", place - platform))
            yield (
                f"{info.file}:{line}: {rule.label} is never alone in refusing: wherever it holds,"
                f" {by.label} does{same}"
            )
            break


def _unused_bands(info: PolicyInfo, name: str, section: SectionPlan) -> Iterator[str]:
    """Yield bands that begin above the cut-off."""
    if section.matrix is not None or section.model < 0:
        return
    document = getattr(info.document, name)
    for before, band in zip(section.bands, section.bands[1:], strict=False):
        if before.pd_ppm_max >= section.cut_off_pd_ppm:
            yield (
                f"{info.file.parent / document.bands}:{band.line}: begins above the cut-off"
                f" {section.cut_off_pd_ppm} of {info.file.name}: nobody gets these terms"
            )
