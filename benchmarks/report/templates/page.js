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
    var words = input.value.toLowerCase().split(/\s+/).filter(Boolean), visible = 0;
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
