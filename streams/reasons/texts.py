"""The words for reasons and themes, read and checked: every code and every feature of a model has a
text in both languages, before anybody is told anything.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

from pydantic import Field

from models.policy.documents import Document, Listed, Name, read_document
from models.policy.reasons import REASONS
from streams.deployment import Deployment
from streams.errors import DipperError
from streams.schema import Outcome

TEXTS = Path(__file__).with_name("texts.toml")
OWN_FILE = "reasons.toml"  # of a deployment
NOT_VERIFIED = "not_verified"  # stands for whatever is not disclosed
LANGUAGES = ("en", "zh")

_Text = Annotated[str, Field(min_length=1)]


class Theme(Document):
    """What a group of features is called: `features` are names or patterns with `*`.

    `undisclosed`: the features, their values and that they mattered are nobody's to know.
    """

    id: Name
    features: Annotated[Listed[str], Field(min_length=1)]
    undisclosed: bool = False
    en: _Text
    zh: _Text

    def holds(self, feature: str) -> bool:
        """Return whether a feature belongs to it."""
        return any(fnmatchcase(feature, pattern) for pattern in self.features)


class _TextsDocument(Document):
    reasons: dict[str, _Text] = Field(default_factory=dict)
    themes: Listed[Theme] = ()


@dataclass(frozen=True)
class Texts:
    """Words by reason code and language, and themes in the order in which they are asked."""

    reasons: Mapping[str, Mapping[str, str]]
    themes: tuple[Theme, ...]

    def theme(self, feature: str) -> Theme | None:
        """Return the theme of a feature, None where it has none."""
        return next((theme for theme in self.themes if theme.holds(feature)), None)


def load_texts(config: Path | None = None) -> Texts:
    """Return the texts, those of a deployment's `reasons.toml` first; PolicyError where a code or a
    language lacks.
    """
    base, text = read_document(TEXTS, _TextsDocument)
    themes = base.themes
    words = dict(base.reasons)
    own = None if config is None else config / OWN_FILE
    if own is not None and own.is_file():
        more, text = read_document(own, _TextsDocument)
        themes = (*more.themes, *themes)
        words |= more.reasons
    known = {reason.code: reason for reason in REASONS}
    for code in words:
        if code not in known:
            raise text.fault(("reasons", code), "is no reason code; remove it")
    for reason in REASONS:
        if reason.code not in words:
            raise text.fault(("reasons",), f"has no Chinese text for {reason.code}; add it")
    fraud = {words[code] for code, reason in known.items() if reason.outcome is Outcome.FRAUD}
    if len(fraud) != 1:
        raise text.fault(("reasons",), "tells reasons of fraud apart; give all the same text")
    return Texts(
        {code: {"en": known[code].told, "zh": words[code]} for code in known}, tuple(themes)
    )


def check_texts(deployment: Deployment, config: Path) -> Texts:
    """Return the texts of the deployment in `config` for one of its versions; DipperError where a
    feature of a model has none.
    """
    texts = load_texts(config)
    for info in deployment.model_infos:
        for feature in info.features:
            if texts.theme(feature) is None:
                raise DipperError(
                    f"{info.folder}: no text for its feature {feature}; add a [[themes]] with it to"
                    f" {config / OWN_FILE}"
                )
    return texts
