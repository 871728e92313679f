// Controls: header, filters, keys, pointer; and the self-check, which does what a person would and says what it saw.

const element = (tag, attributes = {}, ...children) => {
  const made = Object.assign(document.createElement(tag), attributes);
  made.append(...children);
  return made;
};
const byId = id => document.getElementById(id);
const diagrams = [];
let waiting = null;

/** Draws in the next frame, once: everything, or only what is pointed at. */
function refresh(all = true) {
  if (waiting) {
    waiting.all = waiting.all || all;
    return;
  }
  waiting = { all };
  requestAnimationFrame(() => {
    const { all } = waiting;
    waiting = null;
    diagrams.forEach(diagram => diagram.draw(all));
  });
}

function measure() {
  diagrams.forEach(diagram => diagram.measure());
  refresh();
}

// --- Moving

function look(from, to) {
  const widest = Math.max(...runs.map(run => run.width)) * 1.3, narrowest = view.byOrder ? 4 : 0.02;
  const width = Math.min(Math.max(to - from, narrowest), widest);
  const centre = Math.min(Math.max((from + to) / 2, 0), Math.max(...runs.map(run => run.width)));
  view.from = centre - width / 2;
  view.to = centre + width / 2;
  refresh();
}

function fit() {
  const width = Math.max(...runs.map(run => run.width));
  view.top = 0;
  look(-width * 0.01, width * 1.02);
}

function zoom(factor, x) {
  look(x - (x - view.from) * factor, x + (view.to - x) * factor);
}

/** Brings an entry into view: its lane, and so much around it that its neighbours can be told apart. */
function goTo(run, at, closer) {
  const x = run.x(at);
  let width = view.to - view.from;
  if (closer) width = Math.min(width, view.byOrder ? 120 : Math.max(run.x(Math.min(at + 60, run.size - 1)) - run.x(Math.max(at - 60, 0)), 1));
  if (closer || x < view.from + width * 0.05 || x > view.to - width * 0.05) look(x - width / 2, x + width / 2);
  const diagram = diagrams.find(diagram => diagram.run === run);
  const lane = diagram.lanes[run.lane[at]], room = diagram.height - RULER;
  if (lane.top < diagram.scroll || lane.top + lane.height > diagram.scroll + room) {
    view.top = Math.max(0, lane.top - room / 2);
  }
  choose({ run, at });
}

function step(direction, sameLane) {
  const from = view.chosen || { run: runs[0], at: runs[0].step ?? -1 };
  const { run } = from;
  for (let at = from.at + direction; at >= 0 && at < run.size; at += direction) {
    if (!run.shows(at) || (sameLane && run.lane[at] !== run.lane[from.at])) continue;
    if (!sameLane && view.thin.has(run.lane[at])) continue;
    return goTo(run, at, false);
  }
}

function toggleAxis() {
  const centre = Math.min(Math.max((view.from + view.to) / 2, 0), runs[0].width);
  const share = (view.to - view.from) / runs[0].width;
  const all = Array.from({ length: runs[0].size }, (_, at) => at);
  const middle = Math.min(runs[0].before(all, centre), runs[0].size - 1);
  const at = view.chosen && view.chosen.run === runs[0] ? view.chosen.at : middle;
  view.byOrder = !view.byOrder;
  byId('axis').textContent = view.byOrder ? 'by order' : 'by time';
  if (share > 0.9) return fit();
  const width = Math.max(share * runs[0].width, view.byOrder ? 60 : 1), x = runs[0].x(Math.max(at, 0));
  look(x - width / 2, x + width / 2);
}

// --- Details

const time = (run, at) => `${run.time[at].toFixed(3)} ms`;
const laneName = lane => `${data.lanes[lane][1] === data.lanes[lane][0] ? '' : data.lanes[lane][1] + ' · '}${data.lanes[lane][0]}`;

/** Where an entry happened: its lane, and from the second on the number of the incarnation. */
function whereabouts(run, at) {
  const [name, group, sort] = data.lanes[run.lane[at]], again = run.incarnation[at] > 1 ? `'${run.incarnation[at]}` : '';
  if (sort === 'subtask') return `${group}${again} · ${name}`;
  return sort === 'process' ? group + again : laneName(run.lane[at]);
}

function choose(place) {
  view.chosen = place;
  const detail = byId('detail');
  detail.replaceChildren();
  if (!place) {
    detail.append(element('div', { className: 'hint', textContent: HINT }));
    return refresh(false);
  }
  const { run, at } = place;
  for (let near = Math.max(at - 40, 0); near < Math.min(at + 41, run.size); near++) {
    const made = storyLine(run, near);
    if (near === at) made.classList.add('here');
    detail.append(made);
  }
  const here = detail.querySelector('.here');
  detail.scrollTop = here.offsetTop - detail.offsetTop - detail.clientHeight / 2 + 8;
  refresh(false);
}

/** One line of the story; a click goes there. */
function storyLine(run, at) {
  const mark = at === run.step ? '>' : at === run.parting ? '|' : ' ';
  const line = `${mark} ${String(run.number(at)).padStart(6)} ${time(run, at).padStart(14)}  ${whereabouts(run, at).padEnd(26)}  ${run.text(at)}`;
  const made = element('div', { textContent: line, className: 'line' });
  if (at === run.step) made.classList.add('bad');
  made.onclick = () => goTo(run, at, false);
  return made;
}

/** The entries of the first run that name something: an object, a checkpoint, a subtask. */
function naming(name) {
  const whole = new RegExp(`(?<![\\w.-])${name.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}(?![\\w.-])`);
  const found = [];
  for (let at = 0; at < runs[0].size; at++) {
    if (whole.test(`${whereabouts(runs[0], at)} ${runs[0].text(at)}`)) found.push(at);
  }
  return found;
}

/** Tells, in place of the story around an entry, of something by its name. */
function tellOf(name, all) {
  const detail = byId('detail');
  view.chosen = null;
  detail.replaceChildren(element('div', { className: 'hint', textContent: `What happens with ${name}:` }));
  all.slice(0, 500).forEach(at => detail.append(storyLine(runs[0], at)));
  if (all.length > 500) detail.append(element('div', { className: 'hint', textContent: `… and ${all.length - 500} more` }));
  detail.scrollTop = 0;
  refresh(false);
}

/** A text in which whatever entries name leads to all of them. */
function linked(text, attributes) {
  const made = element('div', attributes);
  let end = 0;
  for (const found of text.matchAll(/[\w.-]+(?:\/[\w.-]+)+|chk-\d+|[\w-]+\[\d+\]/g)) {
    const all = naming(found[0]);
    if (!all.length) continue;
    const link = element('a', { textContent: found[0], title: `Tell the ${all.length} entries that name it`, href: '#', role: 'button' });
    link.onclick = () => { tellOf(found[0], all); return false; };
    made.append(text.slice(end, found.index), link);
    end = found.index + found[0].length;
  }
  made.append(text.slice(end));
  return made;
}

const HINT = 'Wheel zooms, drag pans, a click on an entry tells the story around it. Keys: f fit · b bad step · d where the '
  + 'runs part · ← → previous and next entry (with Shift on the same lane) · ↑ ↓ lanes · + − zoom · o by time or by order · '
  + 'c next checkpoint · t light or dark · / search · Esc nothing chosen. A click on a lane’s name folds it, a double click leaves it alone. '
  + 'Colour is the checkpoint. ▮ barrier emitted, ● barrier received, dashed: alignment, full: synchronous snapshot, then encoding '
  + 'and upload, edged in red if it never ends; faint is what a replaced process does; ◆ snapshot or visible commit, ★ commit point, ⚑ leadership or attempt, ✕ aborted, failed or crashed.';

function point(diagram, x, y, clientX, clientY) {
  const tip = byId('tip');
  const found = diagram.find(x, y);
  const span = found ? null : diagram.spanAt(x, y);
  view.hover = found;
  tip.hidden = !found && !span;
  if (found) {
    const { run, at } = found;
    tip.replaceChildren(element('small', { textContent: `entry ${run.number(at)} · ${time(run, at)} · ${whereabouts(run, at)}${run.replaced[at] ? ', which has been replaced' : ''}` }),
      element('div', { textContent: run.text(at) }));
  } else if (span) {
    const [lane, from, to, sort, checkpoint, , open] = span, { run } = diagram;
    const length = (run.time[to] - run.time[from]).toFixed(3);
    tip.replaceChildren(element('small', { textContent: `${laneName(lane)} · entries ${run.number(from)} to ${run.number(to)}` }),
      element('div', { textContent: `${data.spans[sort]}${checkpoint ? ` of chk-${checkpoint}` : ''}: ${length} ms${open ? ', never ended' : ''}` }));
  }
  if (!tip.hidden) {
    tip.style.left = `${Math.min(clientX + 14, innerWidth - tip.offsetWidth - 8)}px`;
    tip.style.top = `${clientY + 18 + tip.offsetHeight > innerHeight ? clientY - tip.offsetHeight - 10 : clientY + 18}px`;
  }
  refresh(false);
}

// --- Header and filters

function showHeader() {
  const { header } = data;
  const verdict = byId('verdict');
  verdict.append(element('span', { className: header.passed ? 'badge good' : 'badge', textContent: header.verdict }));
  if (header.property) verdict.append(element('span', { className: 'property', textContent: header.property }));
  if (header.promise) verdict.append(element('span', { className: 'promise', textContent: `promises: ${header.promise}` }));
  if (header.passed) verdict.append(element('span', { className: 'promise', textContent: 'every property held, and after healing the job finished' }));
  if (header.what) verdict.append(linked(header.what, { className: 'what' }));
  const fact = (name, value) => byId('facts').append(element('span', {}, name + ' ', element('b', { textContent: value })));
  fact('seed', header.seed);
  fact('fingerprint', header.fingerprint);
  fact('entries', runs[0].numbers ? `${runs[0].size} of ${runs[0].whole} shown` : runs[0].size);
  fact('deliveries', header.deliveries);
  fact('virtual time', `${header.virtual_ms} ms`);
  fact('checkpoints completed', header.completed);
  fact('restores', header.restores);
  if (!header.passed && runs.length === 1) fact('with fewer faults', 'it fails as well');
  const command = element('code', { textContent: header.command, title: 'Click to copy' });
  command.onclick = () => navigator.clipboard && navigator.clipboard.writeText(header.command);
  byId('facts').append(element('span', {}, 'replay with ', command));
  showParting();
  byId('plan').querySelector('pre').textContent = header.plan.split('\n').filter(line => !/^faults? /.test(line)).join('\n');
  runs[0].faults.forEach(([text, fired]) => {
    const when = fired === null ? 'never struck' : `struck at ${time(runs[0], fired)}`;
    const line = element('li', { textContent: `${text} — ${when}`, className: fired === null ? 'unfired' : '' });
    if (fired !== null) line.onclick = () => goTo(runs[0], fired, true);
    byId('plan').querySelector('ol').append(line);
  });
  byId('plan').querySelector('ol').start = 0;
  byId('plan').ontoggle = measure;
}

/** Names the first difference of two runs. */
function showParting() {
  if (runs.length === 1) return;
  const [here, there] = runs.map(run => run.parting < run.size ?
    `${whereabouts(run, run.parting)}: ${run.text(run.parting)} at ${time(run, run.parting)}` : 'nothing any more');
  const parting = byId('parting');
  parting.hidden = false;
  parting.title = 'Go there ( d )';
  parting.onclick = toParting;
  parting.append('parts from the nearest run that passes at entry ', element('b', { textContent: runs[0].parting < runs[0].size ? runs[0].number(runs[0].parting) : 'the end' }),
    ' — here ', element('b', { textContent: here }), ', there ', element('b', { textContent: there }));
}

function chooseCheckpoint(id) {
  view.checkpoint = view.checkpoint === id ? null : id;
  document.querySelectorAll('#checkpoints .chip').forEach(chip =>
    chip.classList.toggle('chosen', Number(chip.dataset.id) === view.checkpoint));
  if (view.checkpoint) {
    document.querySelector('#checkpoints .chosen').scrollIntoView({ block: 'nearest', inline: 'nearest' });
    const run = runs.find(run => run.cuts.some(cut => cut[0] === id)) || runs.find(run => run.fate.has(id));
    const cut = run.cuts.find(cut => cut[0] === id);
    const places = cut ? cut[2] : [run.outcomes.find(outcome => outcome[0] === id)[2]];
    const xs = places.map(at => run.x(at));
    if (Math.max(...xs) < view.from || Math.min(...xs) > view.to) {
      const width = view.to - view.from;
      look((Math.min(...xs) + Math.max(...xs) - width) / 2, (Math.min(...xs) + Math.max(...xs) + width) / 2);
    }
  }
  refresh();
}

function showFilters() {
  checkpoints.forEach(id => {
    const fates = runs.map(run => run.fate.get(id) || 'not triggered');
    const swatch = element('i');
    swatch.style.background = `hsl(${hues.get(id)} 65% 50%)`;
    const chip = element('button', { className: `chip ${fates[0]}`, title: `chk-${id}: ${[...new Set(fates)].join('; below: ')}` }, swatch, String(id));
    chip.dataset.id = id;
    if (runs.some(run => run.violated === id)) chip.classList.add('violated');
    chip.onclick = () => chooseCheckpoint(id);
    byId('checkpoints').append(chip);
  });
  if (!checkpoints.length) byId('checkpoints').append('none was triggered');
  data.kinds.forEach(([name, about], kind) => {
    const chip = element('button', { className: 'chip', textContent: name, title: `${about} (double click: only these)` });
    chip.onclick = () => { view.hidden.has(kind) ? view.hidden.delete(kind) : view.hidden.add(kind); showKinds(); };
    chip.ondblclick = () => {
      const alone = view.hidden.size === data.kinds.length - 1 && !view.hidden.has(kind);
      view.hidden = new Set(alone ? [] : data.kinds.map((_, other) => other).filter(other => other !== kind));
      showKinds();
    };
    byId('kinds').append(chip);
  });
}

function showKinds() {
  document.querySelectorAll('#kinds .chip').forEach((chip, kind) => chip.classList.toggle('off', view.hidden.has(kind)));
  refresh();
}

function search(text) {
  view.search = text.trim().toLowerCase();
  runs.forEach(run => {
    run.matches = view.search ? Uint8Array.from({ length: run.size }, (_, at) =>
      whereabouts(run, at).toLowerCase().includes(view.search) || run.text(at).toLowerCase().includes(view.search)) : null;
  });
  refresh();
}

/** Folds a lane, and with a process its subtasks. */
function foldLane(lane) {
  const [name, group, sort] = data.lanes[lane];
  const members = data.lanes.map((_, other) => other).filter(other => other === lane || (sort === 'process' && name === group && data.lanes[other][1] === group));
  const fold = !view.thin.has(members[members.length - 1]);
  members.filter(other => members.length === 1 || other !== lane).forEach(other => fold ? view.thin.add(other) : view.thin.delete(other));
  measure();
}

function leaveAlone(lane) {
  const others = data.lanes.map((_, other) => other).filter(other => other !== lane && data.lanes[other][2] !== 'faults');
  const alone = others.every(other => view.thin.has(other));
  view.thin = new Set(alone ? [] : others);
  measure();
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  readColours();
  refresh();
}

// --- Pointer and keys

function listen(diagram) {
  const { canvas } = diagram;
  let drag = null;
  canvas.onwheel = event => {
    event.preventDefault();
    if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      const by = (event.deltaX || event.deltaY) / diagram.scale;
      return look(view.from + by, view.to + by);
    }
    if (event.offsetX < LABELS || event.altKey) { view.top = diagram.scroll + event.deltaY; return refresh(); }
    zoom(Math.exp(event.deltaY * 0.0016), view.from + (event.offsetX - LABELS) / diagram.scale);
  };
  canvas.onpointerdown = event => {
    drag = { x: event.offsetX, y: event.offsetY, from: view.from, to: view.to, top: diagram.scroll, moved: false };
    canvas.setPointerCapture(event.pointerId);
  };
  canvas.onpointermove = event => {
    if (!drag) return point(diagram, event.offsetX, event.offsetY, event.clientX, event.clientY);
    const [x, y] = [event.offsetX - drag.x, event.offsetY - drag.y];
    if (!drag.moved && Math.hypot(x, y) < 4) return;
    drag.moved = true;
    canvas.classList.add('dragging');
    byId('tip').hidden = true;
    view.top = drag.top - y;
    look(drag.from - x / diagram.scale, drag.to - x / diagram.scale);
  };
  canvas.onpointerup = event => {
    canvas.classList.remove('dragging');
    const clicked = drag && !drag.moved;
    drag = null;
    if (!clicked) return;
    if (event.offsetX >= LABELS) return choose(diagram.find(event.offsetX, event.offsetY));
    const lane = diagram.laneAt(event.offsetY);
    if (lane >= 0) foldLane(lane);
  };
  canvas.ondblclick = event => {
    const lane = diagram.laneAt(event.offsetY);
    if (event.offsetX < LABELS && lane >= 0) leaveAlone(lane);
  };
  canvas.onpointerleave = () => { view.hover = null; byId('tip').hidden = true; refresh(false); };
}

const toBad = () => { if (runs[0].step !== null) goTo(runs[0], Math.min(runs[0].step, runs[0].size - 1), true); };
const toParting = () => { if (runs[0].parting !== null) goTo(runs[0], Math.min(runs[0].parting, runs[0].size - 1), true); };
const keys = {
  f: fit, '0': fit, b: toBad, d: toParting, o: toggleAxis,
  t: () => setTheme(colours.dark ? 'light' : 'dark'),
  '/': () => byId('search').focus(),
  c: () => { const next = checkpoints.indexOf(view.checkpoint) + 1; if (checkpoints.length) chooseCheckpoint(checkpoints[next % checkpoints.length]); },
  '+': () => zoom(0.7, (view.from + view.to) / 2), '=': () => zoom(0.7, (view.from + view.to) / 2),
  '-': () => zoom(1.4, (view.from + view.to) / 2),
  ArrowUp: () => { view.top = diagrams[0].scroll - 40; refresh(); },
  ArrowDown: () => { view.top = diagrams[0].scroll + 40; refresh(); },
  Escape: () => { if (view.checkpoint) chooseCheckpoint(view.checkpoint); choose(null); },
};

function onKey(event) {
  if (event.target === byId('search')) {
    if (event.key === 'Escape') { byId('search').value = ''; search(''); byId('search').blur(); }
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === 'ArrowLeft' || event.key === 'ArrowRight') {
    step(event.key === 'ArrowLeft' ? -1 : 1, event.shiftKey);
  } else if (keys[event.key]) keys[event.key]();
  else return;
  event.preventDefault();
}

// --- The self-check

/** Does what a person would do, draws at once each time, and leaves what it saw in the document. */
function selfCheck() {
  const draw = () => { diagrams.forEach(diagram => diagram.draw()); return diagrams.map(diagram => diagram.drawn); };
  const seen = { lanes: data.lanes.length, runs: runs.length, entries: runs.map(run => run.size) };
  seen.spans = runs.map(run => run.spans.length);
  seen.arrows = runs.map(run => run.arrows.length);
  seen.cuts = runs.map(run => run.cuts.length);
  seen.step = runs[0].step;
  seen.parting = runs[0].parting;
  seen.labelled = data.lanes.every(([name]) => name.length > 0);
  seen.fitted = draw();
  const diagram = diagrams[0], { run } = diagram;
  toggleAxis();
  fit();
  seen.ordered = draw();
  look(-1, 30);
  seen.zoomed = draw();
  const [x, y] = [diagram.at(3), diagram.middle(run.lane[3])];
  point(diagram, x, y, x, y);
  seen.hovered = byId('tip').hidden ? null : byId('tip').textContent;
  seen.entry3 = run.text(3);
  const width = view.to - view.from, here = { offsetX: x, offsetY: y, clientX: x, clientY: y, preventDefault() {} };
  diagram.canvas.onwheel({ ...here, deltaY: -240, deltaX: 0 });
  seen.closer = (view.to - view.from) / width;
  dispatchEvent(new KeyboardEvent('keydown', { key: 'c' }));
  seen.keyed = view.checkpoint;
  dispatchEvent(new KeyboardEvent('keydown', { key: 'Escape' }));
  diagram.canvas.onpointerleave();
  fit();
  view.hidden = new Set(data.kinds.map((_, kind) => kind));
  seen.hidden = draw();
  view.hidden = new Set([kindNumber.elements]);
  seen.withoutElements = draw();
  view.hidden = new Set();
  if (checkpoints.length) { chooseCheckpoint(checkpoints[0]); seen.oneCheckpoint = draw(); chooseCheckpoint(checkpoints[0]); }
  search('no lane and no entry says this');
  seen.unmatched = draw();
  search('');
  const link = document.querySelector('#verdict .what a');
  if (link) link.onclick();
  seen.linked = link && { name: link.textContent, told: [...byId('detail').querySelectorAll('.line')].map(line => line.textContent) };
  goTo(run, run.size - 1, true);
  seen.last = byId('detail').querySelector('.here').textContent.trim().split(/\s+/)[0];
  choose(null);
  toggleAxis();
  fit();
  seen.refitted = draw();
  byId('self-check').textContent = JSON.stringify(seen);
}

// --- Beginning

addEventListener('error', event => { byId('self-check').dataset.error = event.message; });
runs.forEach((run, number) => {
  const title = element('h2', {}, number ? `Nearest passing run: ${run.about} ` : '', element('small', {}));
  const holder = element('div', { className: 'canvas' });
  const section = element('section', { className: 'run' }, title, holder);
  title.hidden = runs.length === 1;
  title.firstChild.textContent = number ? 'The nearest run that passes ' : 'This run ';
  title.lastChild.textContent = number ? run.about : data.header.property || data.header.verdict;
  title.onclick = () => { section.classList.toggle('folded'); measure(); };
  byId('runs').append(section);
  const diagram = new Diagram(run, holder);
  diagrams.push(diagram);
  listen(diagram);
});
const dark = matchMedia('(prefers-color-scheme: dark)');
const wish = new URLSearchParams(location.hash.slice(1));
dark.onchange = () => setTheme(dark.matches ? 'dark' : 'light');
showHeader();
showFilters();
setTheme(wish.get('theme') || (dark.matches ? 'dark' : 'light'));
byId('search').oninput = event => search(event.target.value);
byId('to-bad').hidden = runs[0].step === null;
byId('to-parting').hidden = runs[0].parting === null;
byId('to-bad').onclick = toBad;
byId('to-parting').onclick = toParting;
byId('previous').onclick = event => step(-1, event.shiftKey);
byId('next').onclick = event => step(1, event.shiftKey);
byId('fit').onclick = fit;
byId('axis').onclick = toggleAxis;
byId('theme').onclick = keys.t;
addEventListener('keydown', onKey);
addEventListener('resize', measure);
choose(null);
measure();
fit();
if (wish.has('check')) selfCheck();
// A link may say where to look: #order, #bad, #parting, #entry=17, #checkpoint=3.
if (wish.has('order')) toggleAxis();
if (wish.has('bad')) toBad();
if (wish.has('parting')) toParting();
if (wish.has('entry')) goTo(runs[0], Math.min(Number(wish.get('entry')) || 0, runs[0].size - 1), true);
if (wish.has('checkpoint') && checkpoints.includes(Number(wish.get('checkpoint')))) chooseCheckpoint(Number(wish.get('checkpoint')));
