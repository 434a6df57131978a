"""Load every policy of a deployment: read, check, compile, run its own cases; all of them or none.

1. Platform and institutions are given. 2. Each `institutions/<id>/<product>.toml` and its band
tables are read and hashed. 3. Every name (column, model, reason, product, channel) is resolved,
bands, lists and terms are checked. 4. All are compiled to one set of tables. 5. Each policy's cases
run through the decide kernels. A fault at any step raises PolicyError, and nothing is loaded.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from models.policy import tables as t
from models.policy.arms import CHALLENGER, CHALLENGER_MARK, CHAMPION, salt_of
from models.policy.bands import Band, read_bands, read_classes
from models.policy.build import (
    CeilingPlan,
    PolicyPlan,
    Predicates,
    ProductPlan,
    RulePlan,
    SectionPlan,
    ServicePlan,
    build_tables,
    compile_node,
    stack_depth,
)
from models.policy.cases import check_cases
from models.policy.documents import Place, Text, content_address, read_document, suggestion
from models.policy.errors import fault
from models.policy.expression import (
    FEATURE,
    PD,
    RAW,
    Column,
    ExpressionError,
    Node,
    parse,
)
from models.policy.lists import Lists
from models.policy.matrix import Matrix, read_matrix, refusals, without_band
from models.policy.platform import (
    FEES_FILE,
    RULE_REASONS,
    SIDES,
    Institution,
    Platform,
    Product,
    list_files,
)
from models.policy.policies import ALL, CatalogColumn, Policies, PolicyInfo, RuleInfo
from models.policy.policy import Policy, Rule, Section
from models.policy.price import METHODS
from models.policy.reach import constant_fault
from models.policy.reasons import BIT
from models.policy.terms import check_terms
from streams.limits import PPM
from streams.schema import Cap

HOUR_MS = 3_600_000
SCORE_REASON = "score_above_cut_off"
CHALLENGERS = "challengers"
PLATFORM = "platform"  # reader of columns that institutions may not see


def load_policies(
    config_dir: Path | str,
    platform: Platform,
    institutions: Sequence[Institution],
    columns: Mapping[str, CatalogColumn],
    models: Mapping[str, int],
) -> Policies:
    """Load all policies under `config_dir`; `columns` by name, `models` name to row of scores.

    PolicyError, with file, line, field and remedy, where one is wrong or fails a case of its own.
    """
    policies = read_policies(config_dir, platform, institutions, columns, models)
    check_cases(policies, platform, columns, models)
    return policies


def read_policies(
    config_dir: Path | str,
    platform: Platform,
    institutions: Sequence[Institution],
    columns: Mapping[str, CatalogColumn],
    models: Mapping[str, int],
) -> Policies:
    """Do all of `load_policies` but run the cases: for a report on them."""
    lists = Lists()
    lists.rows_of(platform.lists)
    read = [
        _Reader(platform, institution, columns, models, lists).read(path)
        for institution in institutions
        for path in _policy_files(Path(config_dir) / "institutions" / institution.id, platform)
    ]
    read = [_in_experiment(pair, read) for pair in read]
    read.sort(key=lambda pair: (pair[1].product, pair[1].institution, pair[1].arm))
    plans = tuple(plan for _, plan in read)
    tables = build_tables(
        [product_plan(product) for product in platform.products],
        ceiling_plans(platform),
        plans,
        lists.entries,
        platform.decision_key,
    )
    return Policies(
        tables,
        tuple(info for info, _ in read),
        plans,
        tuple(lists.entries),
        t.rule_words(tables),
        t.candidates_max(tables),
    )


_Read = tuple[PolicyInfo, PolicyPlan]


def _in_experiment(pair: _Read, read: Sequence[_Read]) -> _Read:
    """Return a policy with its arm, where a challenger stands beside it."""
    info, plan = pair
    both = [(other, of) for other, of in read if of[:2] == plan[:2]]
    challenger = next((other for other, _ in both if other.document.experiment), None)
    if challenger is None:
        return pair
    if len(both) == 1:
        what = f"challenges no policy; add {challenger.file.parent.parent / info.file.name}"
        raise info.text.fault(("experiment",), what)
    experiment = challenger.document.experiment
    assert experiment is not None
    arm = CHALLENGER if info is challenger else CHAMPION
    salt = salt_of(f"{info.id.partition('/')[0]}/{experiment.name}")
    made = plan._replace(salt=salt, arm=arm, share_ppm=experiment.share_ppm)
    return replace(info, arm=arm), made


def product_plan(product: Product) -> ProductPlan:
    """Return a product's codes."""
    return ProductPlan(
        SIDES.index(product.side), product.kind == "line", t.RANKINGS.index(product.ranking)
    )


def ceiling_plans(platform: Platform) -> list[CeilingPlan]:
    """Return the legal ceilings with codes and times."""
    return [
        CeilingPlan(ceiling.from_at, SIDES.index(ceiling.side), ceiling.apr_bps)
        for ceiling in platform.apr_ceilings
    ]


def _policy_files(folder: Path, platform: Platform) -> Iterable[Path]:
    known = [product.id for product in platform.products]
    for path in sorted([*folder.glob("*.toml"), *folder.glob(f"{CHALLENGERS}/*.toml")]):
        if path.name in {"institution.toml", FEES_FILE}:
            continue
        if path.stem not in known:
            raise fault(path, 0, "", f"no product {path.stem}; {suggestion(path.stem, known)}")
        yield path


class _Reader:
    """Reads the policies of one institution."""

    def __init__(
        self,
        platform: Platform,
        institution: Institution,
        columns: Mapping[str, CatalogColumn],
        models: Mapping[str, int],
        lists: Lists,
    ) -> None:
        self.platform = platform
        self.institution = institution
        self.columns = columns
        self.models = models
        self.lists = lists

    def read(self, path: Path) -> tuple[PolicyInfo, PolicyPlan]:
        """Read and check one policy file with its band tables."""
        document, text = read_document(path, Policy)
        if document.product != path.stem:
            what = f"is {document.product} in a file called {path.name}; make them equal"
            raise text.fault(("product",), what)
        code = self.platform.product_code(document.product)
        challenges = path.parent.name == CHALLENGERS
        if challenges != (document.experiment is not None):
            what = f"is what a policy in {CHALLENGERS}/ has, and no other; move the file or mend it"
            raise text.fault(("experiment",), what)
        product = self.platform.products[code]
        is_line = product.kind == "line"
        if is_line and document.drawdown is None:
            raise text.fault((), f"{product.id} is a line; add a [drawdown] section")
        if not is_line and document.drawdown is not None:
            raise text.fault(("drawdown",), f"{product.id} is no line; remove the section")
        paths, files = list_files(text, document.lists, path.parent)
        rows = self.lists.rows_of(paths)
        sections = (
            self._section(text, "application", document.application, product, files, rows),
            None
            if document.drawdown is None
            else self._section(text, "drawdown", document.drawdown, product, files, rows),
        )
        plan = PolicyPlan(self.institution.code, code, self._channels(text, document), sections)
        address = content_address(
            [
                (self.institution.path.name, self.institution.text.data),
                (path.name, text.data),
                *sorted(files.items()),
            ]
        )
        info = PolicyInfo(
            id=f"{self.institution.id}/{product.id}" + (CHALLENGER_MARK if challenges else ""),
            institution=self.institution.code,
            product=code,
            file=path,
            sha256=address,
            rules=(_rule_infos(sections[0]), _rule_infos(sections[1])),
            own_reasons=self.institution.own_reasons,
            document=document,
            text=text,
        )
        return info, plan

    def _channels(self, text: Text, document: Policy) -> int:
        """Return the mask of channels: those named, or all that are open to the institution."""
        channels = self.platform.channels
        open_to_us = {
            channel.id: code
            for code, channel in enumerate(channels)
            if channel.institution in (None, self.institution.id)
        }
        if document.channels is None:
            return sum(1 << code for code in open_to_us.values())
        for place, name in enumerate(document.channels):
            if name not in open_to_us:
                kind = (
                    "is another institution's" if name in {c.id for c in channels} else "is unknown"
                )
                hint = suggestion(name, tuple(open_to_us))
                raise text.fault(("channels", place), f"channel {name} {kind}; {hint}")
        if not document.channels:
            raise text.fault(("channels",), "is empty; name a channel or remove the field")
        return sum(1 << open_to_us[name] for name in set(document.channels))

    def _section(
        self,
        text: Text,
        name: str,
        section: Section,
        product: Product,
        files: dict[str, bytes],
        lists: Mapping[str, int],
    ) -> SectionPlan:
        model = self._model(text, name, section)
        bands_path = text.path.parent / section.bands
        data = _read_table(text, (name, "bands"), section.bands, files)
        read = read_bands if section.matrix is None else read_classes
        bands = read(bands_path, data)
        matrix = self._matrix(text, name, section, bands, files)
        check_terms(text, name, section, bands_path, bands)
        if section.commitment is not None and (product.kind != "line" or name == "drawdown"):
            what = "only the application for a line takes commitment; remove it"
            raise text.fault((name, "commitment"), what)
        cap = int(Cap.OUTSTANDING)
        if product.kind == "line" and name == "application":
            cap = int(Cap.COMMITMENT) if section.commitment else -1
        return SectionPlan(
            rules=(
                *self._platform_rules(name, product),
                *self._rules(text, name, section.rules, section.model, lists),
                *self._matrix_rules(text, name, section, matrix),
            ),
            bands=bands,
            tenors_days=tuple(sorted(section.tenors_days)),
            model=model,
            cut_off_pd_ppm=PPM if section.cut_off_pd_ppm is None else section.cut_off_pd_ppm,
            amount_cents_min=section.amount_cents_min,
            amount_cents_max=section.amount_cents_max,
            method=METHODS.index(section.method),
            offer_ms=section.offer_hours * HOUR_MS,
            partial=section.partial,
            cap=cap,
            basis=self._basis(text, name, section, bands_path, bands),
            matrix=matrix,
            random_ppm=section.random_share_ppm,
            random_salt=salt_of(f"{self.institution.id}/{product.id}/{name}/random"),
            service=self._service(text, name, section),
        )

    def _service(self, text: Text, name: str, section: Section) -> ServicePlan | None:
        asked = section.debt_service
        if asked is None:
            return None
        place: Place = (name, "debt_service")
        burden = -1
        if asked.burden is not None:
            burden = self._cents_column(text, (*place, "burden"), asked.burden)
        income = self._cents_column(text, (*place, "income"), asked.income)
        return ServicePlan(income, burden, asked.share_bps_max, asked.missing == "ignore")

    def _cents_column(self, text: Text, place: Place, name: str) -> int:
        """Return the row of a column that holds an amount and that this institution may read."""
        column = self.columns.get(name)
        if column is None:
            raise text.fault(
                place, f"unknown column {name}; {suggestion(name, tuple(self.columns))}"
            )
        if column.categories is not None:
            raise text.fault(place, "is a category; name a column in cents")
        if not readable(column, self.institution.id):
            raise text.fault(place, "may not be read by this institution; name another")
        return column.row

    def _matrix(
        self,
        text: Text,
        name: str,
        section: Section,
        bands: tuple[Band, ...],
        files: dict[str, bytes],
    ) -> Matrix | None:
        if section.matrix is None:
            return None
        data = _read_table(text, (name, "matrix"), section.matrix, files)
        names = expression_columns(self.columns, self.models, self.institution.id, section.model)
        classes = [band.label for band in bands]
        return read_matrix(text.path.parent / section.matrix, data, names, classes)

    def _matrix_rules(
        self, text: Text, name: str, section: Section, matrix: Matrix | None
    ) -> Iterable[RulePlan]:
        """Yield what the cells that refuse come to: a rule, so that it stands in the mask."""
        if matrix is None:
            return
        code = self.institution.reasons.get(section.matrix_reason, section.matrix_reason)
        if code not in (*RULE_REASONS, SCORE_REASON):
            known = (SCORE_REASON, *self.institution.reasons, *RULE_REASONS)
            what = f"unknown reason {code}; {suggestion(code, known)}"
            raise text.fault((name, "matrix_reason"), what)
        for label, node, reason in (
            ("matrix", refusals(matrix), code),
            ("matrix.missing", without_band(matrix), "data_incomplete"),
        ):
            if node is not None:
                own = self.institution.own_reasons.get(reason, reason)
                when = f"{section.matrix}: {'refuse' if label == 'matrix' else 'no band'}"
                yield RulePlan(label, when, node, BIT[reason], own)

    def _model(self, text: Text, name: str, section: Section) -> int:
        if section.model is None:
            if section.cut_off_pd_ppm is not None:
                what = "needs a score; name a model or remove it"
                raise text.fault((name, "cut_off_pd_ppm"), what)
            return -1
        if section.model not in self.models:
            what = f"unknown model {section.model}; {suggestion(section.model, tuple(self.models))}"
            raise text.fault((name, "model"), what)
        if section.cut_off_pd_ppm is None:
            raise text.fault((name,), "has a model but no cut_off_pd_ppm; add it")
        return self.models[section.model]

    def _basis(
        self, text: Text, name: str, section: Section, path: Path, bands: tuple[Band, ...]
    ) -> int:
        shared = [band for band in bands if band.limit_income_bps >= 0]
        if section.income is None:
            if shared:
                what = (
                    f"has shares, but [{name}] of {text.path.name} no income; name the column there"
                )
                raise fault(path, shared[0].line, "limit_income_bps", what)
            return -1
        if not shared:
            raise text.fault((name, "income"), f"{path.name} has no limit_income_bps; remove it")
        return self._cents_column(text, (name, "income"), section.income)

    def _rules(
        self,
        text: Text,
        name: str,
        rules: tuple[Rule, ...],
        model: str | None,
        lists: Mapping[str, int],
    ) -> tuple[RulePlan, ...]:
        names = expression_columns(self.columns, self.models, self.institution.id, model)
        plans: list[RulePlan] = []
        labels: set[str] = set()
        for number, rule in enumerate(rules):
            place: Place = (name, "rules", number)
            code = self.institution.reasons.get(rule.reason, rule.reason)
            if code not in RULE_REASONS:
                if code in BIT:
                    what = f"no rule may give {code}, the platform sets it itself; choose another"
                else:
                    known = (*self.institution.reasons, *RULE_REASONS)
                    what = f"unknown reason {rule.reason}; {suggestion(rule.reason, known)}"
                raise text.fault((*place, "reason"), what)
            if rule.label in labels:
                what = f"a second rule called {rule.label}; give it a name of its own"
                raise text.fault(place, what)
            labels.add(rule.label)
            node = parse_rule(text, (*place, "when"), rule.when, names, self._hidden(), lists)
            own = self.institution.own_reasons.get(code, code)
            plans.append(RulePlan(rule.label, rule.when, node, BIT[code], own))
        return tuple(plans)

    def _hidden(self) -> frozenset[str]:
        return frozenset(
            name
            for name, column in self.columns.items()
            if not readable(column, self.institution.id)
        )

    def _platform_rules(self, name: str, product: Product) -> tuple[RulePlan, ...]:
        names = expression_columns(self.columns, self.models, PLATFORM, None)
        lists = self.lists.rows_of(self.platform.lists)
        plans = []
        for number, rule in enumerate(self.platform.rules):
            if rule.side != product.side or name not in rule.sections:
                continue
            place: Place = ("rules", number, "when")
            node = parse_rule(self.platform.text, place, rule.when, names, frozenset(), lists)
            own = self.institution.own_reasons.get(rule.reason, rule.reason)
            label = f"{PLATFORM}.{rule.name}"
            plans.append(RulePlan(label, rule.when, node, BIT[rule.reason], own))
        return tuple(plans)


def _read_table(text: Text, place: Place, file: str, files: dict[str, bytes]) -> bytes:
    """Return the bytes of a table beside the policy, and keep them in `files`."""
    if Path(file).name != file or not file.endswith(".csv"):
        raise text.fault(place, "must name a .csv file in this folder; correct it")
    try:
        files[file] = (text.path.parent / file).read_bytes()
    except OSError as error:
        what = f"{file} cannot be read ({error.strerror}); add the file"
        raise text.fault(place, what) from None
    return files[file]


def readable(column: CatalogColumn, reader: str) -> bool:
    """Return whether an institution (its id) or the platform may use a column."""
    return ALL in column.readers or reader in column.readers or reader == PLATFORM


def expression_columns(
    columns: Mapping[str, CatalogColumn], models: Mapping[str, int], reader: str, model: str | None
) -> dict[str, Column]:
    """Return the names that a reader's rules may use: columns, `pd_ppm.<model>`, `raw.<model>`,
    `pd_ppm`.
    """
    names = {
        name: Column(FEATURE, column.row, column.categories)
        for name, column in columns.items()
        if readable(column, reader)
    }
    for name, row in models.items():
        names[f"pd_ppm.{name}"] = Column(PD, row)
        names[f"raw.{name}"] = Column(RAW, row)
    if model is not None:
        names["pd_ppm"] = Column(PD, models[model])
    return names


def parse_rule(
    text: Text,
    place: Place,
    when: str,
    names: Mapping[str, Column],
    hidden: frozenset[str],
    lists: Mapping[str, int],
) -> Node:
    """Parse one rule; an ExpressionError becomes a PolicyError at its line of the file."""
    try:
        node = parse(when, names, lists)
    except ExpressionError as error:
        what = error.what
        for name in hidden:
            if what.startswith(f"unknown column {name};"):
                what = f"column {name} may not be read by this institution; use another"
        line = text.text_line(place) + error.line - 1
        field = str(place[-1])
        raise fault(text.path, line, field, f"column {error.column}: {what}") from None
    if stack_depth(compile_node(node, Predicates())) > t.STACK_MAX:
        raise text.fault(place, "is too deep; split the rule")
    if found := constant_fault(node):
        raise text.fault(place, found)
    return node


def _rule_infos(section: SectionPlan | None) -> tuple[RuleInfo, ...]:
    if section is None:
        return ()
    codes = list(BIT)
    return tuple(
        RuleInfo(rule.label, rule.when, codes[rule.reason], rule.own_reason)
        for rule in section.rules
    )
