// The overview's table: rows that hold what is sought, in the order of the column whose heading is pressed.
'use strict';

const table = document.getElementById('proteins');
const body = table.tBodies[0];
const rows = [...body.rows];
const texts = rows.map((row) => row.textContent.toLowerCase());
const sought = document.getElementById('sought');

function filter() {
  const wanted = sought.value.trim().toLowerCase();
  let count = 0;
  rows.forEach((row, i) => {
    row.hidden = !texts[i].includes(wanted);
    count += !row.hidden;
  });
  document.getElementById('found').textContent = wanted ? `${count} of ${rows.length}` : '';
}

// Numbers by size, the largest first; text by letters; what is empty comes last.
function compare(one, other, rising) {
  if (!one || !other) return Boolean(other) - Boolean(one);
  const difference = one - other;
  const order = Number.isNaN(difference) ? one.localeCompare(other, 'en', {numeric: true}) : -difference;
  return rising ? -order : order;
}

[...table.tHead.rows[0].cells].forEach((cell, column) => {
  const button = document.createElement('button');
  button.type = 'button';
  button.textContent = cell.textContent;
  cell.replaceChildren(button);
  button.addEventListener('click', () => {
    const again = cell.getAttribute('aria-sort') === 'descending';
    for (const other of table.tHead.rows[0].cells) other.removeAttribute('aria-sort');
    cell.setAttribute('aria-sort', again ? 'ascending' : 'descending');
    const value = (row) => row.cells[column].textContent.replaceAll(',', '').trim();
    body.append(...[...rows].sort((one, other) => compare(value(one), value(other), again)));
  });
});
sought.addEventListener('input', filter);
sought.value = '';
