"""The small deployment with lists of tokens that its rules ask, and a second version of them."""

from pathlib import Path
from tempfile import TemporaryDirectory

from streams.config import load_deployment
from streams.deployment import Deployment
from streams.versions import save_version, with_versions
from tests.naive.deployments import LIMITS, RULE, change, write_deployment

# One entry ends on the way of a log that begins on 14 November 2023.
LISTS = {
    "dawn": "kind,token,expires,note\ndevice,d0,,stolen\ndevice,d1,2023-11-16,\nid_doc,d2,,\n",
    "meadow": "token,kind\nd1,device\nf1,phone\np2,applicant\n",
}
WATCHED = "kind,token\nphone,f0\nphone,北\n"

RULES = {
    "dawn": (("application", "device on mine", "device_changed"),),
    "meadow": (
        ("application", "request on mine and age_years > 40", "customers_only"),
        ("drawdown", "device not on mine", "identity_mismatch"),
    ),
}


def write_lists(folder: Path) -> Path:
    """Add LISTS, RULES and a list of the platform's own to a config folder."""
    for institution, entries in LISTS.items():
        home = folder / "institutions" / institution
        (home / "listed.csv").write_text(entries)
        path = home / "cash_line.toml"
        text = path.read_text().replace("\n[", '\n[lists]\nmine = "listed.csv"\n\n[', 1)
        for section, when, reason in RULES[institution]:
            text += RULE.format(section=section, when=when, reason=reason)
        path.write_text(text)
    platform = folder / "platform.toml"
    text = platform.read_text().replace("\n[[", '\n[lists]\nwatched = "watched.csv"\n\n[[', 1)
    platform.write_text(text.replace("> 0.9", "> 0.9 or phone on watched"))
    (folder / "lists").mkdir()
    (folder / "lists" / "watched.csv").write_text(WATCHED)
    return folder


def listed_deployment(folder: Path) -> Deployment:
    """Write and load the deployment with lists, and a second version with an entry more."""
    write_lists(write_deployment(folder))
    with TemporaryDirectory() as other:
        second = write_lists(change(write_deployment(Path(other) / "config")))
        path = second / "institutions" / "dawn" / "listed.csv"
        path.write_text(path.read_text() + "device,d3,,\n")
        save_version(folder, second)
    return with_versions(load_deployment(folder, LIMITS))
