"""Write the dashboards as Grafana reads them: `python -m monitoring.grafana_files` after a change.

The files stand in `monitoring/grafana/dashboards/`; a test holds them to `monitoring/panels.py`.
"""

from collections.abc import Iterator
from pathlib import Path

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    prometheus,
    stat,
    timeseries,
)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    BarGaugeDisplayMode,
    LegendDisplayMode,
    LegendPlacement,
    StackingMode,
)
from grafana_foundation_sdk.models.dashboard import DataSourceRef, GridPos, VariableRefresh

from monitoring.panels import BOARDS, INSTITUTION, Board, Panel

FOLDER = Path(__file__).parent / "grafana" / "dashboards"
SOURCE = DataSourceRef(type_val="prometheus", uid="dipper-prometheus")
_COLUMNS, _HEIGHT = 12, 8
AnyPanel = timeseries.Panel | stat.Panel | bargauge.Panel


def dashboards() -> Iterator[tuple[str, str]]:
    """Yield each dashboard's file name and its JSON."""
    for board in BOARDS:
        text = JSONEncoder(sort_keys=True, indent=1).encode(_board(board))
        yield f"{board.uid}.json", f"{text}\n"


def _board(board: Board) -> object:
    built = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.help)
        .tags(["dipper"])
        .refresh("10s")
        .time("now-1h", "now")
        .timezone("browser")
        .readonly()
    )
    if board is INSTITUTION:
        built.with_variable(
            dashboard.QueryVariable("institution")
            .datasource(SOURCE)
            .query("label_values(dipper_judged_total, institution)")
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        )
    for place, panel in enumerate(board.panels):
        built.with_panel(_panel(panel, place))
    return built.build()


def _panel(panel: Panel, place: int) -> AnyPanel:
    kind: AnyPanel
    if panel.kind == "number":
        kind = stat.Panel().reduce_options(_latest())
    elif panel.kind == "bars":
        kind = bargauge.Panel().display_mode(BarGaugeDisplayMode.BASIC)
        kind = kind.reduce_options(_latest())
    else:
        kind = timeseries.Panel().legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        if panel.kind == "stacked":
            kind = kind.fill_opacity(30).stacking(common.StackingConfig().mode(StackingMode.NORMAL))
    told = " ".join(filter(None, (panel.help, panel.empty and f"Empty where {panel.empty}.")))
    kind.title(panel.title).description(told).unit(panel.unit).datasource(SOURCE)
    kind.grid_pos(_place(place))
    for number, query in enumerate(panel.queries):
        target = prometheus.Dataquery().expr(query.expr).legend_format(query.legend)
        target.ref_id(chr(ord("A") + number))
        if panel.kind in {"number", "bars"}:
            target.instant()
        kind.with_target(target)
    return kind


def _latest() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs(["lastNotNull"])


def _place(place: int) -> GridPos:
    row, column = divmod(place, 2)
    return GridPos(h=_HEIGHT, w=_COLUMNS, x=column * _COLUMNS, y=row * _HEIGHT)


def write(folder: Path = FOLDER) -> None:
    """Write every dashboard's file."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in dashboards():
        (folder / name).write_text(text)


if __name__ == "__main__":
    write()
