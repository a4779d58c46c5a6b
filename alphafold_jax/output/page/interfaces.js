// The table of the interfaces of one model.
'use strict';

function showInterfaces(index) {
  const names = Object.entries(facts.interface_scores);
  const heading = ['Chains', ...names.map(([, title]) => title)];
  const rows = facts.models[index].interfaces.map((row) => [row.pair, ...names.map(([name]) => row[name])]);
  find('interfaces').replaceChildren(
    element('thead', {}, element('tr', {}, ...heading.map((title) => element('th', {scope: 'col'}, title)))),
    element('tbody', {}, ...rows.map((row) => element('tr', {}, ...row.map((cell) => element('td', {}, cell))))),
  );
}
