"""The notebook example runs on its own, and its tables agree with the decisions."""

from pathlib import Path

from examples import replay_in_a_notebook as notebook

_POLICIES = Path(notebook.__file__).parent / "policies"


def test_the_notebook_replays_and_its_tables_add_up(tmp_path: Path) -> None:
    """Every decision stands in the table of outcomes, and every one has its evidence."""
    result = notebook.main(notebook.simulated(tmp_path), _POLICIES)
    requests = result.decisions.height
    assert requests > 100
    assert notebook.outcomes(result)["requests"].sum() == requests
    assert notebook.profile(result)["requests"].sum() == requests
    declined = result.decisions.filter(result.decisions["outcome"] != "approved")
    told = notebook.reasons(result)["requests"].sum()
    assert told == declined["reasons"].list.len().sum()
