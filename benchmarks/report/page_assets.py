"""Style sheet and script of the HTML page. Both go into the page itself: it loads nothing."""

CSS = """
:root {
  color-scheme: light dark;
  --paper: #fcfcfb; --card: #ffffff; --ink: #1b1d1f; --quiet: #5d646b; --line: #dfe2e5; --faint: #f3f4f5;
  --accent: #0061a0; --good: #00704f; --warn: #b04a00; --warn-back: #fdf1e6; --mark: #0072b2;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #141618; --card: #1b1e21; --ink: #e8eaec; --quiet: #a0a8b0; --line: #33383d; --faint: #22262a;
    --accent: #6bb7f0; --good: #4cc79d; --warn: #f0a25c; --warn-back: #33261a; --mark: #56b4e9;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
main, header, footer { max-width: 1520px; margin: 0 auto; padding: 0 28px; }
header { padding-top: 36px; }
h1 { font-size: 28px; line-height: 1.2; letter-spacing: -0.01em; margin: 0 0 6px; }
h2 { font-size: 20px; margin: 44px 0 4px; }
h3 { font-size: 15px; margin: 28px 0 8px; }
p, li { max-width: 90ch; }
.lead { color: var(--quiet); margin: 0 0 4px; }
.caption { color: var(--quiet); margin: 0 0 14px; font-size: 14px; }
a { color: var(--accent); }
nav ul { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: 4px 20px; margin: 14px 0 0; }
.tools { display: flex; flex-wrap: wrap; gap: 8px 20px; align-items: center; margin: 0 0 8px; font-size: 14px; }
.tools input[type=search] {
  font: inherit; color: inherit; background: var(--card); border: 1px solid var(--line); border-radius: 6px;
  padding: 4px 10px; width: 220px;
}
.tools .shown { color: var(--quiet); }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 1px; border-radius: 3px; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 10px; background: var(--card); }
table { border-collapse: collapse; width: 100%; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { padding: 7px 9px; text-align: right; white-space: nowrap; vertical-align: middle; }
th.text, td.text { text-align: left; }
thead th { border-bottom: 1px solid var(--line); background: var(--faint); font-weight: 600; vertical-align: bottom; }
thead button {
  font: inherit; color: inherit; background: none; border: 0; padding: 0; cursor: pointer; text-align: inherit;
}
thead button::after { content: " \\2195"; color: var(--quiet); opacity: .45; }
thead th[aria-sort=descending] button::after { content: " \\2193"; color: var(--accent); opacity: 1; }
thead th[aria-sort=ascending] button::after { content: " \\2191"; color: var(--accent); opacity: 1; }
thead small { display: block; font-weight: 400; color: var(--quiet); white-space: normal; min-width: 6.5em;
  font-size: .86em; }
tbody tr + tr td { border-top: 1px solid var(--line); }
tbody tr:hover td { background: var(--faint); }
tr.reference td { color: var(--quiet); font-style: italic; background: var(--faint); }
td.name { font-weight: 600; }
td small { display: block; font-weight: 400; color: var(--quiet); font-style: normal; font-size: .92em; }
td.name small { white-space: normal; min-width: 17em; }
td.name .swatch { display: inline-block; width: 9px; height: 9px; border-radius: 2px; margin-right: 7px;
  outline: 1px solid var(--line); }
tr.reference td.name { font-weight: 400; }
td.note { white-space: normal; min-width: 170px; max-width: 260px; text-align: left; font-size: .96em; }
td.undefined { color: var(--warn); white-space: normal; min-width: 8em; font-size: .92em; font-style: normal; }
.badge {
  display: inline-block; font-size: .9em; font-weight: 500; font-style: normal; line-height: 1.5; padding: 0 7px;
  border-radius: 9px; border: 1px solid var(--line); color: var(--quiet); margin: 2px 6px 0 0;
}
.badge.below { color: var(--warn); border-color: var(--warn); background: var(--warn-back); }
svg.interval { display: block; width: 100px; height: 16px; }
svg.interval .zero { stroke: var(--line); } svg.interval .floor { stroke: var(--warn); stroke-dasharray: 2 2; }
svg.interval .ceiling { stroke: var(--good); stroke-dasharray: 4 2; }
svg.interval .range { stroke: var(--mark); stroke-width: 2.5; stroke-linecap: round; }
svg.interval .seed { fill: none; stroke: var(--mark); opacity: .55; } svg.interval .mean { fill: var(--mark); }
tr.reference svg.interval .range { stroke: var(--quiet); } tr.reference svg.interval .mean { fill: var(--quiet); }
.key { font-size: 12.5px; color: var(--quiet); margin: 8px 0 0; max-width: none; }
.key b { font-weight: 600; }
.failures { border-left: 3px solid var(--warn); background: var(--warn-back); padding: 8px 16px; margin: 14px 0; }
.failures h3 { margin: 0 0 2px; } .failures ul { margin: 0; padding-left: 18px; overflow-wrap: anywhere; }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(330px, 1fr)); gap: 18px; }
.figures.wide { grid-template-columns: minmax(0, 1100px); }
.figures.two { grid-template-columns: repeat(auto-fill, minmax(min(440px, 100%), 1fr)); max-width: 1100px; }
figure { margin: 0; background: #ffffff; border: 1px solid var(--line); border-radius: 10px; overflow: hidden; }
figure img { display: block; width: 100%; height: auto; padding: 12px; }
figcaption {
  font-size: 12.5px; line-height: 1.45; color: var(--quiet); background: var(--card); padding: 9px 14px 11px;
  border-top: 1px solid var(--line);
}
details { margin: 18px 0; } summary { cursor: pointer; font-weight: 600; }
dl { display: grid; grid-template-columns: max-content minmax(0, 90ch); gap: 7px 20px; font-size: 14px; }
dt { font-weight: 600; } dd { margin: 0; overflow-wrap: anywhere; }
code { font: 12px/1.4 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
footer { color: var(--quiet); font-size: 13px; padding-bottom: 40px; margin-top: 36px; }
@media (max-width: 640px) {
  main, header, footer { padding-left: 14px; padding-right: 14px; }
  dl { grid-template-columns: 1fr; } dd { margin-bottom: 6px; }
}
@media print {
  :root {
    --paper: #fff; --card: #fff; --ink: #000; --quiet: #444; --line: #bbb; --faint: #f4f4f4; --warn: #8a3a00;
    --warn-back: #fff; --mark: #0072b2; --accent: #000;
  }
  @page { size: A4 landscape; margin: 12mm; }
  body { font-size: 10px; } main, header, footer { max-width: none; padding: 0; }
  .tools, nav, thead button::after { display: none; }
  .scroll { overflow: visible; border: 0; } table { font-size: 8px; } th, td { padding: 3px 4px; }
  td.note { min-width: 70px; } .caption, dl, .key, figcaption { font-size: 9px; } svg.interval { width: 70px; }
  h1 { font-size: 20px; } h2 { font-size: 14px; margin-top: 20px; } .figures.wide { max-width: 640px; }
  figure, tr, .failures { break-inside: avoid; } h2, h3 { break-after: avoid; } thead { display: table-header-group; }
}
"""

JS = """
'use strict';
(function () {
  // A missing number has no data-value: it sorts last in both directions, as a number it is neither high nor low.
  function key(row, column, textual) {
    var cell = row.cells[column], value = cell.getAttribute('data-value');
    if (value === null || value === '') return null;
    return textual ? value.toLowerCase() : Number(value);
  }
  function sort(table, column, direction) {
    var heads = table.tHead.rows[0].cells, body = table.tBodies[0];
    var textual = heads[column].classList.contains('text');
    var rows = Array.prototype.map.call(body.rows, function (row, place) {
      return {row: row, place: place, key: key(row, column, textual)};
    });
    var sign = direction === 'descending' ? -1 : 1;
    rows.sort(function (a, b) {
      if (a.key === null || b.key === null) {
        return (a.key === null) - (b.key === null) || a.place - b.place;
      }
      if (a.key < b.key) return -sign;
      if (a.key > b.key) return sign;
      return a.place - b.place;
    });
    rows.forEach(function (item) { body.appendChild(item.row); });
    Array.prototype.forEach.call(heads, function (head, i) {
      if (i === column) head.setAttribute('aria-sort', direction);
      else if (head.hasAttribute('aria-sort')) head.setAttribute('aria-sort', 'none');
    });
    var status = document.getElementById('status');
    status.textContent = 'Sorted by ' + heads[column].querySelector('button').textContent + ', ' + direction + '.';
  }
  function filter(table, input) {
    var words = input.value.toLowerCase().split(/\\s+/).filter(Boolean), visible = 0;
    Array.prototype.forEach.call(table.tBodies[0].rows, function (row) {
      var text = row.textContent.toLowerCase();
      row.hidden = !words.every(function (word) { return text.indexOf(word) >= 0; });
      if (!row.hidden) visible += 1;
    });
    var shown = input.closest('.tools').querySelector('.shown');
    shown.textContent = words.length ? visible + ' of ' + table.tBodies[0].rows.length + ' rows' : '';
  }
  document.querySelectorAll('table.sortable').forEach(function (table) {
    Array.prototype.forEach.call(table.tHead.rows[0].cells, function (head, column) {
      var button = head.querySelector('button');
      if (!button) return;
      button.addEventListener('click', function () {
        var first = head.getAttribute('data-first') || 'descending';
        var second = first === 'descending' ? 'ascending' : 'descending';
        sort(table, column, head.getAttribute('aria-sort') === first ? second : first);
      });
    });
  });
  document.querySelectorAll('input[data-table]').forEach(function (input) {
    var table = document.getElementById(input.getAttribute('data-table'));
    input.addEventListener('input', function () { filter(table, input); });
    input.addEventListener('keydown', function (event) {
      if (event.key === 'Escape') { input.value = ''; filter(table, input); }
    });
  });
})();
"""
