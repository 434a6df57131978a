"""Turn state and event into numbers: stage 5, derive.

A feature is a row of the catalog (`features/catalog.py`), not code. `load_catalog` validates the
rows, a deployment's own from TOML among them, and compiles them to arrays; `derive` walks those and
writes one column of a feature-major block. `describe` shows the catalog as a frame.

    catalog = load_catalog(Path("catalog.toml"))     # None: the default rows alone
    scratch = make_scratch(catalog.tables)
    vectors = np.empty((len(catalog.columns), BLOCK))
    derive(state, catalog.tables, scratch, events, row, applicant, line, vectors, 0)
    vectors[catalog.columns["order_count_30d"], 0]

| source | what it reads | module |
|---|---|---|
| attribute | what the latest applications said of the applicant | vector |
| request | the request itself; hour and weekday in UTC | vector |
| applicant | live offers and reservations, whether history was cut | vector |
| signal | value and age of partner and bureau data within its time to live | vector |
| window | the applicant's events of some kinds in `[as_of - w, as_of)` | windows |
| loans | loans and their dues as they stood at `as_of` | loans |
| lines | credit lines, and the line drawn on | lines |
| ratio | one earlier column over another; over 0 or missing: missing | vector |

What is dated at the request's time or later never counts, wherever it stands in the log. Three
things are known only as the log has left them, without a history: outstanding principal, the limit
and what is available of a line, and the latest of each signal.

A model binds to definition hashes. They cover what can change a value (aggregate, kinds, window,
missing value, the columns of a ratio) and the name and unit; not owner, readers or hints.
"""
