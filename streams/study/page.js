"use strict";
// Draws a report from the figures in #data. Text goes in as text nodes only: nothing is parsed as HTML.
const D = JSON.parse(document.getElementById("data").textContent);
const main = document.getElementById("main"), nav = document.getElementById("nav");
const A = "var(--a)", B = "var(--b)", NS = "http://www.w3.org/2000/svg";

function el(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return node;
}
function svg(tag, attributes, ...children) {
  const node = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes || {})) node.setAttribute(name, value);
  node.append(...children.flat());
  return node;
}
const whole = (x) => (x === null || x === undefined ? "–" : Math.round(x).toLocaleString("en-US"));
const share = (x, digits = 1) => (x === null || x === undefined || Number.isNaN(x) ? "–" : (100 * x).toFixed(digits) + " %");
const plain = (x, digits = 3) => (x === null || x === undefined ? "–" : x.toFixed(digits));
const money = (cents) => {
  if (cents === null || cents === undefined) return "–";
  const x = cents / 100, size = Math.abs(x);
  if (size >= 1e9) return (x / 1e9).toFixed(2) + " bn";
  if (size >= 1e6) return (x / 1e6).toFixed(2) + " m";
  if (size >= 1e4) return (x / 1e3).toFixed(1) + " k";
  return x.toLocaleString("en-US", {maximumFractionDigits: 2});
};
const over = (a, b) => (b ? a / b : null);

function section(id, title, note, ...children) {
  nav.append(el("a", {href: "#" + id}, title));
  main.append(el("section", {id}, el("h2", {}, title), note ? el("p", {class: "soft"}, note) : null, D.lacking[id] ? el("p", {class: "soft lacking"}, D.lacking[id]) : null, children));
}
function card(title, ...children) { return el("div", {class: "card"}, title ? el("h3", {}, title) : null, children); }
function copy(rows, button) {
  const text = rows.map((row) => row.join("\t")).join("\n");
  const done = () => { button.textContent = "copied"; setTimeout(() => { button.textContent = "copy"; }, 1500); };
  const box = el("textarea", {style: "position:fixed;opacity:0"});
  box.value = text; document.body.append(box); box.select();
  try { document.execCommand("copy"); done(); } finally { box.remove(); }
}
// columns: [name, function of a row → text, "text" for left-aligned]
function table(title, columns, rows) {
  const cells = rows.map((row) => columns.map(([, of]) => of(row)));
  const button = el("button", {type: "button", onclick: () => copy([columns.map(([name]) => name), ...cells.map((r) => r.map((c) => (c === null ? "" : c)))], button)}, "copy");
  const kind = (k) => (columns[k][2] ? {class: columns[k][2]} : {});
  return el("div", {class: "card"},
    el("div", {class: "tools"}, el("h3", {}, title), button),
    el("div", {class: "scroll"}, el("table", {},
      el("thead", {}, el("tr", {}, columns.map(([name], k) => el("th", kind(k), name)))),
      el("tbody", {}, cells.map((row) => el("tr", {}, row.map((cell, k) => (cell === null ? el("td", {class: "blank"}) : el("td", kind(k), cell)))))))));
}
function legend(...items) {
  return el("div", {class: "legend"}, items.map(([colour, text]) => el("span", {}, el("span", {class: "dot", style: "background:" + colour}), " " + text)));
}
const sides = () => legend([A, D.names[0]], [B, D.names[1]]);

// A chart of lines: series [{colour, points [[x, y|null]], dash}], axes by format functions.
function lines(series, {xs = null, x = [0, 1], y = null, fx = share, fy = share, height = 220, diagonal = false, mark = null} = {}) {
  const W = 440, H = height, L = 46, R = 8, T = 8, Bm = 26;
  const values = series.flatMap((s) => s.points.map((p) => p[1])).filter((v) => v !== null && v !== undefined);
  const [y0, y1] = y || [Math.min(0, ...values), Math.max(1e-9, ...values) * 1.08];
  const px = (v) => L + ((v - x[0]) / (x[1] - x[0] || 1)) * (W - L - R), py = (v) => H - Bm - ((v - y0) / (y1 - y0 || 1)) * (H - T - Bm);
  const out = svg("svg", {viewBox: `0 0 ${W} ${H}`, role: "img"});
  for (let k = 0; k <= 4; k++) {
    const v = y0 + ((y1 - y0) * k) / 4;
    out.append(svg("line", {x1: L, x2: W - R, y1: py(v), y2: py(v), stroke: "#e3e8ee"}), svg("text", {x: L - 6, y: py(v) + 4, "text-anchor": "end"}, fy(v)));
  }
  const step = xs ? Math.max(1, Math.ceil(xs.length / 6)) : 1;
  if (xs) xs.forEach((name, k) => { if (k % step === 0) out.append(svg("text", {x: px(k), y: H - 8, "text-anchor": k === xs.length - 1 ? "end" : k ? "middle" : "start"}, name)); });
  else for (let k = 0; k <= 4; k++) { const v = x[0] + ((x[1] - x[0]) * k) / 4; out.append(svg("text", {x: px(v), y: H - 8, "text-anchor": k === 4 ? "end" : "middle"}, fx(v))); }
  if (diagonal) out.append(svg("line", {x1: px(x[0]), y1: py(x[0]), x2: px(x[1]), y2: py(x[1]), stroke: "#b8c4d0", "stroke-dasharray": "3 4"}));
  if (mark !== null) out.append(svg("line", {x1: px(mark), x2: px(mark), y1: T, y2: H - Bm, stroke: "#17212b", "stroke-dasharray": "2 3"}));
  for (const s of series) {
    const shown = s.points.filter((p) => p[1] !== null && p[1] !== undefined);
    const path = shown.map((p, k) => (k ? "L" : "M") + px(p[0]).toFixed(1) + " " + py(p[1]).toFixed(1)).join("");
    out.append(svg("path", {d: path || "M0 0", fill: "none", stroke: s.colour, "stroke-width": s.width || 2, "stroke-dasharray": s.dash || "none", "stroke-linejoin": "round"}));
    if (s.dots) for (const p of shown) {
      if (p[2] !== undefined) out.append(svg("line", {x1: px(p[0]), x2: px(p[0]), y1: py(p[2]), y2: py(p[3]), stroke: s.colour, "stroke-width": 1.2}));
      out.append(svg("circle", {cx: px(p[0]), cy: py(p[1]), r: 3, fill: s.colour}));
    }
  }
  return out;
}
function bars(groups, {fy = share, height = 200} = {}) {
  const W = 440, H = height, L = 46, R = 8, T = 8, Bm = 26, top = Math.max(1e-9, ...groups.flatMap((g) => g.values)) * 1.08;
  const out = svg("svg", {viewBox: `0 0 ${W} ${H}`, role: "img"}), width = (W - L - R) / groups.length;
  const py = (v) => H - Bm - (v / top) * (H - T - Bm), every = Math.max(1, Math.ceil(groups.length / 8));
  for (let k = 0; k <= 3; k++) { const v = (top * k) / 3; out.append(svg("line", {x1: L, x2: W - R, y1: py(v), y2: py(v), stroke: "#e3e8ee"}), svg("text", {x: L - 6, y: py(v) + 4, "text-anchor": "end"}, fy(v))); }
  groups.forEach((g, k) => {
    const w = (width * 0.8) / g.values.length;
    g.values.forEach((v, j) => out.append(svg("rect", {x: L + k * width + width * 0.1 + j * w, y: py(v), width: Math.max(w - 0.6, 0.6), height: Math.max(H - Bm - py(v), 0), fill: g.colours ? g.colours[j] : [A, B][j], rx: 1})));
    if (k % every === 0) out.append(svg("text", {x: L + (k + 0.5) * width, y: H - 8, "text-anchor": "middle"}, g.name));
  });
  return out;
}

function overview() {
  const s = D.summary, t = D.totals;
  main.append(el("h1", {}, "Two policies on one past"), el("p", {class: "soft"}, `${whole(s.requests)} requests of ${whole(s.events)} events, ${D.window[0]} to ${D.window[1]}. Mode: ${D.mode}.`),
    el("div", {class: "sides"}, ["a", "b"].map((side, k) => el("span", {class: "side"}, el("span", {class: "dot " + side}), el("b", {}, (k ? "new: " : "old: ") + D.names[k]), el("span", {class: "soft"}, D.versions[k])))));
  const tile = (name, now, was, change, good) => el("div", {class: "tile"}, el("div", {class: "name"}, name), el("div", {class: "value"}, now), el("div", {class: "was"}, "was " + was + " ", el("span", {class: good === null ? "" : good ? "up" : "down"}, change)));
  const points = (x) => (x === null ? "" : (x >= 0 ? "+" : "−") + Math.abs(100 * x).toFixed(1) + " points");
  const rise = s.approval_rate_after - s.approval_rate_before, worse = t.a.bad_rate === null || t.b.bad_rate === null ? null : t.b.bad_rate - t.a.bad_rate;
  main.append(el("div", {class: "tiles"},
    tile("approved", share(s.approval_rate_after), share(s.approval_rate_before), points(rise), null),
    tile("bad rate of the approved", share(t.b.bad_rate), share(t.a.bad_rate), points(worse), worse === null || Math.abs(worse) < 5e-5 ? null : worse < 0),
    tile("expected profit", money(t.b.profit), money(t.a.profit), (t.b.profit >= t.a.profit ? "+" : "−") + money(Math.abs(t.b.profit - t.a.profit)), t.b.profit === t.a.profit ? null : t.b.profit > t.a.profit),
    tile("expected loss", money(t.b.loss), money(t.a.loss), "", null),
    el("div", {class: "tile"}, el("div", {class: "name"}, "answers that differ"), el("div", {class: "value"}, whole(s.different)), el("div", {class: "was"}, Object.entries(s.causes).map(([name, n]) => `${name} ${whole(n)}`).join(", ") || "no cause"))));
}

function grid(rows) {
  const has = (name) => rows.some((x) => x[name] !== null);
  const signed = (bps) => (bps > 0 ? "+" : bps < 0 ? "−" : "±") + share(Math.abs(bps) / 1e4, 2);
  const title = "What if the new side had " + [["cut_off_ppm", "every cut-off at"], ["rate_bps", "every yearly rate moved by"], ["cap_bps", "every budget at a share of"]].filter(([name]) => has(name)).map(([, text]) => text).join(", ");
  return el("div", {}, table(title, [
    ...(has("cut_off_ppm") ? [["cut-off PD", (x) => share(x.cut_off_ppm / 1e6, 2)]] : []), ...(has("rate_bps") ? [["rate", (x) => signed(x.rate_bps)]] : []), ...(has("cap_bps") ? [["budgets", (x) => share(x.cap_bps / 1e4, 0)]] : []),
    ["approved", (x) => share(x.approval_rate)], ["bad", (x) => share(x.bad_rate)], ["in", (x) => whole(x.swap_in)], ["out", (x) => whole(x.swap_out)], ["no money left", (x) => whole(x.no_money)], ["lent", (x) => money(x.lent_cents)], ["expected loss", (x) => money(x.loss_cents)], ["expected profit", (x) => money(x.profit_cents)]], rows),
    el("p", {class: "soft"}, "Take-up is held constant: nobody takes or leaves an offer for its price. Above a policy's last band its last band's terms hold. " + (has("cap_bps") ? "Under other budgets money goes by what each cell itself lends, in the order of the log, and comes back as it did in the replay where that one approved the same request, else when the offer has run out; caps by day and segment are left out." : "Money is as it was seen in the replay.")));
}

function swaps() {
  const r = D.summary.bad_rates, n = D.summary.swap, estimate = D.summary.swap_in_bad_rate;
  const cell = (name, kind, text) => el("div", {class: kind}, el("div", {class: "soft"}, text), el("div", {class: "big"}, whole(n[name])), el("div", {class: "soft"}, r[name].known ? `bad ${share(r[name].bad_rate)} (${share(r[name].low)} to ${share(r[name].high)}) of ${whole(r[name].known)} known` : "outcome unknown"));
  const guess = typeof estimate === "string" ? "Bad rate of swap-ins: unknown; too few outcomes to carry over, or nobody swapped in." : `Bad rate of swap-ins, estimated: ${share(estimate.value)} (95 %: ${share(estimate.low)} to ${share(estimate.high)}). Method: ${estimate.method}.`;
  section("swaps", "Swap sets", "Who is approved by both, by neither, and who changes sides. An outcome is shown only where the labels know it; of those whom the old side declined that is so only if somebody else lent to them.",
    el("div", {class: "card"}, el("div", {class: "swap"}, el("div", {class: "head"}), el("div", {class: "head"}, "new approves"), el("div", {class: "head"}, "new declines"),
      el("div", {class: "head"}, "old approves"), cell("both", "", "both"), cell("only_old", "out", "only old: swap-out"),
      el("div", {class: "head"}, "old declines"), cell("only_new", "in", "only new: swap-in"), cell("neither", "", "neither")), el("p", {class: "soft", style: "margin:12px 0 0"}, guess)),
    el("div", {class: "grid"}, D.summary.different ? table("Why answers differ", [["cause", (x) => x[0]], ["requests", (x) => whole(x[1])]], Object.entries(D.summary.causes)) : card("Why answers differ", el("p", {class: "soft"}, "No answer differs.")),
      D.summary.what_if ? grid(D.summary.what_if) : null));
}

function slider() {
  const s = D.slider, steps = s.bins.length, sums = [[0, 0, 0, 0, 0, 0]];
  for (const bin of s.bins) sums.push(sums[sums.length - 1].map((v, k) => v + bin[k]));
  const x = (k) => (k * s.step_ppm) / 1e6, out = el("div", {class: "tiles"}), charts = el("div", {class: "grid"});
  const used = sums.findIndex((row) => row[0] === sums[steps][0]), last = Math.max(10, Math.min(steps, used + 2));
  const draw = (k) => {
    const [n, old, known, bads, pd, profit] = sums[k];
    const tile = (name, value, note) => el("div", {class: "tile"}, el("div", {class: "name"}, name), el("div", {class: "value"}, value), el("div", {class: "was"}, note));
    out.replaceChildren(tile("cut-off", share(x(k), 1), "PD at most"), tile("approved", share(over(n, s.requests)), whole(n) + " requests"), tile("expected bad", share(over(pd, n)), known ? `observed ${share(over(bads, known))} of ${whole(known)}` : "no outcome known"),
      tile("expected profit", money(profit), "a rough figure, see below"), tile("swap-in", whole(n - old), "old declined"), tile("swap-out", whole(s.old - old), "old approved"));
    const line = (of) => [{colour: B, points: sums.slice(0, last + 1).map((row, j) => [x(j), of(row)])}], options = {x: [0, x(last)], fx: (v) => share(v, 0), mark: x(k)};
    charts.replaceChildren(card("approved, share of requests", lines(line((r) => r[0] / s.requests), {...options, y: [0, 1]})), card("expected bad rate of the approved", lines(line((r) => (r[0] ? r[4] / r[0] : null)), options)), card("expected profit", lines(line((r) => r[5]), {...options, fy: money})));
  };
  const start = Math.max(1, Math.min(last, sums.findIndex((row) => row[0] >= D.summary.approval_rate_after * s.requests)));
  const input = el("input", {type: "range", min: 1, max: last, value: start, "aria-label": "cut-off", oninput: () => draw(+input.value)});
  section("cut-off", "Cut-off", "Move it: one cut-off in place of every cut-off of the new side. Counted are requests that nothing but the cut-off speaks against; above a policy's own last band, its price is not known and counts as no income.", el("div", {class: "card"}, input), out, charts);
  draw(start);
}

function cuts() {
  const columns = (name) => [[name, (r) => r.value], ...[["a", "old"], ["b", "new"]].flatMap(([side, word]) => [[word + " requests", (r) => whole(r[side] && r[side].requests)], [word + " approved", (r) => share(r[side] && over(r[side].approved, r[side].requests))], [word + " bad", (r) => share(r[side] && over(r[side].bads, r[side].known))], [word + " profit", (r) => money(r[side] && r[side].profit)]])];
  const months = D.cuts.month, xs = months.map((r) => r.value), x = [0, Math.max(1, xs.length - 1)];
  const series = (of) => ["a", "b"].map((side) => ({colour: side === "a" ? A : B, dots: true, points: months.map((r, k) => [k, r[side] ? of(r[side]) : null])}));
  section("where", "Where and when", "Approval and bad rate by month, institution, channel and product. An institution's requests are those for which it spoke: the one that funds, or the declining one that came furthest.",
    el("div", {class: "grid"}, card("approved by month", lines(series((r) => over(r.approved, r.requests)), {xs, x, y: [0, 1]}), sides()), card("bad rate of the approved by month", lines(series((r) => over(r.bads, r.known)), {xs, x}), sides())),
    Object.entries(D.cuts).map(([name, rows]) => table("by " + name, columns(name), rows)));
}

function quality() {
  const q = D.quality, have = ["a", "b"].filter((side) => q[side]);
  if (!have.length) { section("quality", "Scores against outcomes", "No request with a score has a known outcome of both kinds: give labels with --label."); return; }
  const colour = (side) => (side === "a" ? A : B), word = (side) => (side === "a" ? "old" : "new");
  section("quality", "Scores against outcomes", "On requests with a known outcome, by the PD that spoke. On the approved alone ranking looks weaker than it is: whom the cut-off refused is not among them.",
    table("Ranking and calibration", [["side", word], ["requests", (s) => whole(q[s].rows)], ["bad", (s) => share(q[s].bad_rate)], ["mean PD", (s) => share(q[s].mean_pd)], ["AUC", (s) => plain(q[s].auc)], ["Gini", (s) => plain(q[s].gini)], ["KS", (s) => plain(q[s].ks)], ["Brier", (s) => plain(q[s].brier, 4)], ["calibration error", (s) => share(q[s].calibration_error, 2)]], have),
    el("div", {class: "grid"},
      card("ROC: bads caught, by goods refused", lines(have.map((s) => ({colour: colour(s), points: q[s].roc})), {y: [0, 1], diagonal: true}), sides()),
      card("KS: goods and bads up to a score", lines(have.flatMap((s) => [{colour: colour(s), points: q[s].ks_curve.map((p) => [p[0], p[1]])}, {colour: colour(s), dash: "4 3", points: q[s].ks_curve.map((p) => [p[0], p[2]])}]), {y: [0, 1]}), legend([A, "old"], [B, "new; dashed: bads"])),
      card("Lift: bad rate of each tenth, riskiest first, over all", bars(q[have[0]].lift.map((_, k) => ({name: String(k + 1), values: have.map((s) => q[s].lift[k] || 0), colours: have.map(colour)})), {fy: (v) => v.toFixed(1)}), sides()),
      card("Calibration: bad rate by mean PD, 95 %", lines(have.map((s) => ({colour: colour(s), dots: true, points: q[s].reliability.map((r) => [r.mean_pd, r.bad_rate, r.low, r.high])})), (() => { const top = Math.max(...have.flatMap((s) => q[s].reliability.map((r) => Math.max(r.mean_pd, r.high)))) * 1.05; return {x: [0, top], y: [0, top], diagonal: true}; })()), sides())));
}

function scores() {
  const s = D.scores, months = s.by_month, xs = months.map((m) => m.month), x = [0, Math.max(1, xs.length - 1)];
  const calm = (v) => (v === null ? "–" : plain(v) + (v > 0.25 ? " shifted" : v > 0.1 ? " watch" : ""));
  section("stability", "Scores over time", `Stability of the scored population against its first month; below 0.1 is calm, above 0.25 another population. Between the sides: ${plain(s.psi_between)}.`,
    el("div", {class: "grid"}, card("distribution of PD", bars(s.a.map((v, k) => ({name: share(s.edges[k], 0), values: [v, s.b[k]]}))), sides()),
      card("mean PD by month", lines(["a", "b"].map((side) => ({colour: side === "a" ? A : B, dots: true, points: months.map((m, k) => [k, m[side + "_mean"] === null ? null : m[side + "_mean"] / 1e6])})), {xs, x}), sides())),
    table("by month", [["month", (m) => m.month], ["requests", (m) => whole(m.requests)], ["old PSI", (m) => calm(m.a)], ["new PSI", (m) => calm(m.b)], ["old mean PD", (m) => share(m.a_mean === null ? null : m.a_mean / 1e6)], ["new mean PD", (m) => share(m.b_mean === null ? null : m.b_mean / 1e6)]], months));
}

function vintages() {
  const b = D.book;
  if (!b) { section("vintages", "Vintages", "The source holds no loan events that can be read as a book."); return; }
  const grid = (title, rows, key) => {
    const most = Math.max(0, ...rows.map((r) => r[key].length));
    return table(title, [["disbursed", (r) => r.month], ["loans", (r) => whole(r.loans)], ["principal", (r) => money(r.principal_cents)], ...Array.from({length: most}, (_, k) => ["month " + (k + 1), (r) => (k < r[key].length ? share(r[key][k]) : null)])], rows);
  };
  const tone = (k, n) => `hsl(174 ${55}% ${28 + (45 * k) / Math.max(1, n)}%)`;
  const curve = (rows) => lines(rows.map((r, k) => ({colour: tone(k, rows.length), points: [[0, 0], ...r.share.map((v, j) => [j + 1, v])]})), {x: [0, Math.max(2, ...rows.map((r) => r.share.length))], fx: (v) => v.toFixed(0)});
  const f = b.first_payment;
  section("vintages", "Vintages", `All ${whole(b.loans)} loans that the log tells of, ours and others', as seen on ${b.seen}. A cell stands only once the month's youngest loan has reached that age; the hatched ones are immature. First payment 30 days late: ${whole(f.late)} of ${whole(f.loans)} (${share(over(f.late, f.loans))}).`,
    el("div", {class: "grid"}, card("ever 30+, by months on book", curve(b.vintages_30)), card("ever 90+, by months on book", curve(b.vintages_90))),
    grid("ever 30+ by count", b.vintages_30, "share"), grid("ever 30+ by balance", b.vintages_30, "balance"), grid("ever 90+ by count", b.vintages_90, "share"), grid("ever 90+ by balance", b.vintages_90, "balance"),
    table("Roll rates: from one month on book to the next", [["days late", (r) => r.name], ...b.buckets.map((name, k) => ["to " + name, (r) => (r.total ? share(r.row[k] / r.total) : "–")]), ["loans", (r) => whole(r.total)]], b.rolls.map((row, k) => ({name: b.buckets[k], row, total: row.reduce((u, v) => u + v, 0)}))));
}

function bands() {
  const columns = [["institution", (r) => r.institution], ["product", (r) => r.product, "text"], ["band", (r) => (r.band === null ? "–" : String(r.band))], ["approved", (r) => whole(r.approved)], ["lent", (r) => money(r.lent)], ["mean PD", (r) => share(r.pd)], ["bad", (r) => share(over(r.bads, r.known))], ["yearly cost", (r) => share(r.apr)], ["expected loss", (r) => money(r.loss)], ["profit", (r) => money(r.profit)], ["of lent", (r) => share(over(r.profit, r.lent), 2)]];
  section("profit", "Profit and loss by band", "Profit: " + D.economics + ". A loan runs to its end or defaults at once on the whole amount; a line counts as drawn in full unless drawdowns stand in the log.", table("old: " + D.names[0], columns, D.bands.a), table("new: " + D.names[1], columns, D.bands.b));
}

function rules() {
  const columns = [["rule", (r) => r.rule], ["policy", (r) => r.policy, "text"], ["of", (r) => r.section, "text"], ["any", (r) => share(r.any / r.judged)], ["first", (r) => share(r.first / r.judged)], ["only", (r) => share(r.only / r.judged)], ["hits", (r) => whole(r.any)], ["when", (r) => r.when, "text"]];
  const o = D.rules.overlap;
  section("rules", "Rules", "Of the requests that a policy judged: how often a rule fires at all, as the reason that comes first, and as all that spoke against the request. A rule with few only-hits costs little to drop.",
    table("new: " + D.names[1], columns, D.rules.b), D.rules.a ? table("old: " + D.names[0], columns, D.rules.a) : null,
    o ? table(`Which fire together: ${o.policy}, ${o.section}`, [["rule", (r) => r.name], ...o.rules.map((name, k) => [name, (r) => whole(r.row[k])])], o.rules.map((name, k) => ({name, row: o.counts[k]}))) : null);
}
function reasons() {
  const merged = (what) => [...new Set([...Object.keys(what.a), ...Object.keys(what.b)])].map((name) => ({name, a: what.a[name] || 0, b: what.b[name] || 0})).sort((p, q) => q.b - p.b || q.a - p.a);
  const columns = (name) => [[name, (r) => r.name], ["old", (r) => whole(r.a)], ["new", (r) => whole(r.b)], ["change", (r) => (r.b > r.a ? "+" : r.b < r.a ? "−" : "") + whole(Math.abs(r.b - r.a))]];
  section("reasons", "Reasons", "The first reason of each decline, and how requests came out.", el("div", {class: "grid"}, table("first reason", columns("reason"), merged(D.reasons)), table("outcome", columns("outcome"), merged(D.outcomes))));
}
function budgets() {
  if (!D.budgets.length) return;
  section("budgets", "Budgets", "Leases of the old side's replay: the most that was reserved or drawn on any day.",
    table("use of budgets", [["institution", (r) => r.institution], ["cap", (r) => r.cap, "text"], ["granted", (r) => money(r.granted)], ["peak use", (r) => money(r.peak)], ["of granted", (r) => share(over(r.peak, r.granted))]], D.budgets),
    el("div", {class: "grid"}, D.budgets.filter((r) => r.peak > 0 && r.days.length > 1).map((r) => card(`${r.institution}, ${r.cap}`, lines([{colour: A, points: r.used.map((v, k) => [k, v])}], {xs: r.days.map((d) => d.slice(5)), x: [0, r.days.length - 1], fy: money, height: 150})))));
}
function fair() {
  const columns = [["group", (r) => r.group], ["requests", (r) => whole(r.requests)], ["approved", (r) => share(r.rate)], ["impact ratio", (r) => (r.reference ? "reference" : plain(r.ratio))], ["95 %", (r) => (r.ratio_low === null ? "–" : `${plain(r.ratio_low)} to ${plain(r.ratio_high)}`)], ["four fifths", (r) => (r.reference || r.ratio === null ? "–" : r.ratio_high !== null && r.ratio_high < 0.8 ? "below" : r.ratio_low !== null && r.ratio_low >= 0.8 ? "above" : "open")], ["mean yearly cost", (r) => share(r.apr_mean === null ? null : r.apr_mean / 1e4, 2)], ["difference", (r) => (r.apr_difference === null || r.reference ? "–" : share(r.apr_difference / 1e4, 2) + ` (${share(r.apr_low / 1e4, 2)} to ${share(r.apr_high / 1e4, 2)})`)]];
  section("fairness", "Fairness", D.fairness.length ? "By declared group: approval against the best-served group (a ratio below 0.8 is what the four-fifths rule asks about), and what the approved pay. Differences are not corrected for risk." : "No group was declared: name one with --group.",
    D.fairness.flatMap((g) => [table(`new, by ${g.group}`, columns, g.b), table(`old, by ${g.group}`, columns, g.a)]));
}
function cases() {
  const side = (rows) => el("div", {class: "scroll"}, el("table", {}, el("thead", {}, el("tr", {}, ["policy", "outcome", "PD", "band", "amount", "rate", "yearly cost", "reasons and rules that fired"].map((name, k) => el("th", k === 7 ? {class: "text"} : {}, name)))),
    el("tbody", {}, rows.map((r) => el("tr", {}, el("td", {}, r.policy + (r.chosen ? " ✓" : "")), el("td", {}, el("span", {class: "pill " + (r.outcome === "approved" ? "yes" : "no")}, r.outcome)), el("td", {}, r.pd_ppm === null || r.pd_ppm < 0 ? "–" : share(r.pd_ppm / 1e6, 2)), el("td", {}, r.band < 0 ? "–" : String(r.band)), el("td", {}, r.amount_cents ? money(r.amount_cents) : "–"), el("td", {}, r.rate_bps === null ? "–" : share(r.rate_bps / 1e4, 2)), el("td", {}, r.apr_bps === null ? "–" : share(r.apr_bps / 1e4, 2)),
      el("td", {class: "text"}, r.reasons.join(", "), r.rules.map((rule) => el("div", {}, el("code", {}, `${rule.rule}: ${rule.when}`)))))))));
  section("cases", "Ten that flipped", "The largest amounts each way, with what every policy said on both sides and all that was known.", el("div", {class: "card"}, D.cases.length ? D.cases.map((c, k) => el("details", {open: k === 0},
    el("summary", {}, el("b", {}, `${money(c.amount_cents)} for ${c.tenor_days} days`), el("span", {}, `${c.product || c.type}, ${c.channel || ""}`), el("span", {class: "pill " + (c.a_outcome === "approved" ? "yes" : "no")}, "old: " + (c.a_outcome === "approved" ? c.a_institution : c.a_reason || c.a_outcome)), el("span", {class: "pill " + (c.b_outcome === "approved" ? "yes" : "no")}, "new: " + (c.b_outcome === "approved" ? c.b_institution : c.b_reason || c.b_outcome)), el("span", {class: "pill"}, "cause: " + c.cause), c.bad === null ? null : el("span", {class: "pill"}, c.bad ? "went bad" : "stayed good")),
    el("p", {class: "soft"}, `decision ${c.id}, request ${c.request} of ${c.applicant}, ${new Date(c.at).toISOString().replace("T", " ").slice(0, 19)} UTC`), el("h3", {}, "old"), side(c.a), el("h3", {style: "margin-top:12px"}, "new"), side(c.b),
    el("h3", {style: "margin-top:12px"}, "what was known"), el("div", {class: "features"}, Object.entries(c.features).map(([name, value]) => el("div", {}, el("span", {}, name), el("span", {}, Number.isInteger(value) ? value.toLocaleString("en-US") : value.toPrecision(4)))))))
    : "No request is approved on one side only."));
}
function notes() {
  section("notes", "What this can and cannot show", null, el("div", {class: "card"}, el("ul", {}, [
    "Mode: " + D.mode + ".",
    "Take-up is held constant: a changed price or amount would change who accepts, and this page does not know how.",
    `Outcomes are known for ${whole(D.totals.known)} of ${whole(D.summary.requests)} requests. A rate is a share of the known, never of all.`,
    "Money in the new side's answers is as the old side saw it in mode frozen: an institution without money then has none now.",
    "Expected profit is a model of one loan at a time, not an account: " + D.economics + ".",
    "Interest is earned for the term alone, a loss is a share of the whole amount: at short terms and low rates a small PD makes the profit negative. Say what you earn and lose with --economics.",
    D.lacking.past || "The features and scores are those of the step that decides live, replayed: nothing here looks ahead of a request."].map((text) => el("li", {}, text)))));
}
overview(); swaps(); slider(); cuts(); quality(); scores(); vintages(); bands(); rules(); reasons(); budgets(); fair(); cases(); notes();
window.addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((d) => { d.open = true; }));
document.body.dataset.ready = "yes";
