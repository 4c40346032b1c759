'use strict';
// Colours that colour-blind readers tell apart (Okabe and Ito).
const COLOURS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#000000', '#8c8c00'];

function draw(curves) {
  const place = document.getElementById('plots');
  for (const {metric, unit, runs} of curves) {
    const id = 'plot-' + metric;
    let box = document.getElementById(id);
    if (!box) {
      box = Object.assign(document.createElement('div'), {id, className: 'plot'});
      place.append(box);
    }
    const lines = runs.map((run, i) => ({
      x: run.x, y: run.y, name: run.run, mode: run.x.length < 40 ? 'lines+markers' : 'lines',
      line: {color: COLOURS[i % COLOURS.length], width: 1.6}, hovertemplate: 'step %{x}: %{y:.5g}<extra>%{fullData.name}</extra>',
    }));
    const positive = runs.every(run => run.y.every(y => y === null || y > 0));
    const scale = (type, label) => ({label, method: 'relayout', args: [{'yaxis.type': type}]});
    Plotly.react(box, lines, {
      title: {text: metric, x: 0.02, font: {size: 15}}, margin: {l: 70, r: 15, t: 45, b: 50}, uirevision: id,
      xaxis: {title: {text: 'step'}, rangemode: 'tozero'}, yaxis: {title: {text: unit}, exponentformat: 'power'},
      showlegend: runs.length > 1, legend: {orientation: 'h', y: -0.25},
      updatemenus: positive ? [{buttons: [scale('linear', 'linear'), scale('log', 'log')], x: 1, y: 1.18, xanchor: 'right'}] : [],
    }, {responsive: true, displayModeBar: false});
  }
}

// A click on a column's head sorts its rows: numbers as numbers, empty cells last.
function sortable(table) {
  const heads = [...table.querySelectorAll('thead th')], body = table.tBodies[0];
  heads.forEach((head, column) => {
    head.tabIndex = 0;
    const sort = () => {
      const down = head.getAttribute('aria-sort') === 'ascending';
      const key = row => row.cells[column] ? row.cells[column].textContent.trim() : '';
      const number = text => parseFloat(text.replace(/,/g, '').replace(/^[^\d.+-]*/, ''));
      const order = (a, b) => {
        const [s, t] = [key(a), key(b)], [m, n] = [number(s), number(t)];
        if (!s || !t) return !s - !t;
        const less = isNaN(m) || isNaN(n) ? s.localeCompare(t) : m - n;
        return down ? -less : less;
      };
      body.append(...[...body.rows].sort(order));
      heads.forEach(other => other.removeAttribute('aria-sort'));
      head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
    };
    head.addEventListener('click', sort);
    head.addEventListener('keydown', event => { if (event.key === 'Enter') sort(); });
  });
}

function zoom(event) {
  const box = document.getElementById('zoomed');
  if (event.target.closest('dialog')) box.close();
  else if (event.target.matches('main img')) {
    box.firstElementChild.src = event.target.src;
    box.firstElementChild.alt = event.target.alt;
    box.showModal();
  }
}

async function refresh(seconds) {
  const told = document.getElementById('told');
  try {
    const now = await (await fetch('now.json')).json();
    told.textContent = now.told;
    document.getElementById('progress').value = now.done;
    draw(now.curves);
    const newest = document.getElementById('newest');
    if (newest.dataset.shown !== JSON.stringify(now.media)) {
      newest.dataset.shown = JSON.stringify(now.media);
      const tags = {picture: 'img', sound: 'audio', film: 'video'};
      newest.replaceChildren(...now.media.map(m => {
        const figure = document.createElement('figure'), caption = document.createElement('figcaption');
        const medium = Object.assign(document.createElement(tags[m.kind]), {src: m.address, alt: m.name, controls: true});
        caption.textContent = m.name;
        figure.append(medium, caption);
        return figure;
      }));
    }
  } catch (error) {
    told.textContent = 'No answer from the program that shows this run: it may have ended.';
  }
  setTimeout(refresh, 1000 * seconds, seconds);
}

document.querySelectorAll('table').forEach(sortable);
document.addEventListener('click', zoom);
const curves = document.getElementById('curves'), live = document.getElementById('live');
if (curves && document.getElementById('plots')) draw(JSON.parse(curves.textContent));
if (live) refresh(JSON.parse(live.textContent));
