// Drawing: the runs in columns, one view of them, and canvases that show what is visible of it.
//
// Places are indexes of entries. Where an entry lies across is its virtual time or its number (the axis); where it lies
// down is its lane. Per lane the entries are in order, so whatever is visible or under the pointer is found by bisection.
'use strict';

const data = JSON.parse(document.getElementById('data').textContent);
const LABELS = 196, RULER = 20, TRACK = 9, LANE = 15, THIN = 4;
const TAG_FONT = '600 11px system-ui, sans-serif';
const kindNumber = Object.fromEntries(data.kinds.map(([name], number) => [name, number]));
const spanKind = ['processes', 'attempts', 'checkpoints', 'alignment', 'snapshots', 'snapshots', 'snapshots',
  'checkpoints', 'checkpoints', 'commits', 'attempts'].map(name => kindNumber[name]);
const arrowKind = ['barriers', 'barriers', 'barriers', 'snapshots', 'snapshots', 'commits', 'commits']
  .map(name => kindNumber[name]);
const spanLabel = ['', '', 'chk', 'align', 'sync', 'encode', 'upload', 'manifest', 'slot', 'commit', 'restore'];
// What these begin with is drawn as a sign of its own; everything else is a tick.
const signs = [['snapshot taken', 'diamond'], ['barrier emitted', 'barrier'], ['barrier received', 'dot'],
  ['cancel emitted', 'cross'], ['checkpoint aborted', 'cross'], ['upload failed', 'cross'], ['decline sent', 'cross'],
  ['prepare failed', 'cross'], ['subtask failed', 'cross'], ['attempt failed', 'cross'], ['worker lost', 'cross'],
  ['deposed', 'cross'], ['* CRASHES', 'crash'], ['* comes', 'up'], ['* fault', 'bolt'], ['* healed:', 'up'],
  ['completion durable', 'star'], ['attempt deployed', 'flag'], ['leadership taken', 'flag'], ['restored', 'up'],
  ['commit ended', 'diamond'], ['subtask finished', 'square'], ['job finished', 'star'], ['* ends:', 'square'],
  ['* fails:', 'crash']];

/** One run: its entries in columns, those that it shares with the run above taken from there. */
class Run {
  constructor(raw, above) {
    Object.assign(this, raw);
    const shared = raw.shared, size = shared + raw.times.length;
    const column = (name, make, values) => {
      this[name] = new make(size);
      if (shared) this[name].set(above[name].subarray(0, shared));
      values.forEach((value, at) => { this[name][shared + at] = value; });
    };
    let time = 0;
    column('time', Float64Array, raw.times.map(delta => (time += delta) / 1000));
    column('lane', Uint16Array, raw.lanes);
    column('kind', Uint8Array, raw.kinds);
    column('checkpoint', Float64Array, raw.checkpoints);
    column('incarnation', Uint16Array, raw.incarnations);
    this.size = size;
    this.above = above;
    this.begins = [0];
    raw.texts.forEach((word, at) => { if (word === 0) this.begins.push(at + 1); });
    this.byLane = data.lanes.map(() => []);
    for (let at = 0; at < size; at++) this.byLane[this.lane[at]].push(at);
    this.sign = Array.from({ length: size }, (_, at) => this.signOf(at));
    // What a process does after another has taken its place is drawn faintly.
    const newest = new Map();
    this.replaced = Uint8Array.from({ length: size }, (_, at) => {
      const [, group, sort] = data.lanes[this.lane[at]];
      if (sort !== 'process' && sort !== 'subtask') return 0;
      newest.set(group, Math.max(newest.get(group) || 0, this.incarnation[at]));
      return this.incarnation[at] < newest.get(group) ? 1 : 0;
    });
    // What looks the same has the same number, so that one mark a pixel is enough.
    const looks = new Map();
    this.look = Uint16Array.from({ length: size }, (_, at) => {
      const look = (this.sign[at] ? `${this.sign[at]} ${this.checkpoint[at]}` : `${this.kind[at]}`) + this.replaced[at];
      if (!looks.has(look)) looks.set(look, looks.size);
      return looks.get(look);
    });
    this.looks = looks.size;
    this.incident = new Map();
    this.arrows.forEach((arrow, number) => [arrow[0], arrow[1]].forEach(at => {
      if (!this.incident.has(at)) this.incident.set(at, []);
      this.incident.get(at).push(number);
    }));
    this.spansByLane = data.lanes.map(() => []);
    this.spans.forEach(span => this.spansByLane[span[0]].push(span));
    this.fate = new Map(this.outcomes.map(([id, how]) => [id, how]));
    this.matches = null;
    this.end = size ? this.time[size - 1] : 0;
  }

  /** The line of an entry, as the story tells it. */
  text(at) {
    if (at < this.shared) return this.above.text(at);
    const own = at - this.shared;
    return this.texts.slice(this.begins[own], this.begins[own + 1] - 1).map(word => data.words[word - 1]).join(' ');
  }

  signOf(at) {
    if (at < this.shared) return this.above.sign[at];
    const text = this.text(at);
    const known = signs.find(([start]) => text.startsWith(start));
    return known ? known[1] : null;
  }

  /** The number of an entry in the whole history. */
  number(at) { return this.numbers ? this.numbers[at] : at; }

  x(at) { return view.byOrder ? at : this.time[at]; }
  get width() { return view.byOrder ? Math.max(this.size - 1, 1) : Math.max(this.end, 1); }

  /** How many entries of a list lie before `x`. */
  before(list, x) {
    let low = 0, high = list.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.x(list[middle]) < x) low = middle + 1; else high = middle;
    }
    return low;
  }

  shows(at) {
    if (view.hidden.has(this.kind[at])) return false;
    if (view.checkpoint && this.checkpoint[at] && this.checkpoint[at] !== view.checkpoint) return false;
    return !this.matches || this.matches[at] === 1;
  }
}

/** What is looked at; all diagrams share it. */
const view = {
  byOrder: false, from: 0, to: 1, top: 0, checkpoint: null, hidden: new Set(), thin: new Set(),
  hover: null, chosen: null, search: '',
};

const runs = [];
data.runs.forEach(raw => runs.push(new Run(raw, runs[0])));
const checkpoints = [...new Set(runs.flatMap(run => run.outcomes.map(([id]) => id)))].sort((a, b) => a - b);
const hues = new Map(checkpoints.map((id, number) => [id, 30 + (number * 179.2) % 290]));
let colours = {};

function readColours() {
  const style = getComputedStyle(document.documentElement);
  const names = ['paper', 'panel', 'ink', 'faint', 'rule', 'stripe', 'good', 'bad', 'warn', 'accent', 'life', 'attempt'];
  colours = Object.fromEntries(names.map(name => [name, style.getPropertyValue('--' + name).trim()]));
  colours.dark = document.documentElement.dataset.theme === 'dark';
}

function ofCheckpoint(id, alpha = 1) {
  if (!hues.has(id)) return colours.faint;
  return `hsl(${hues.get(id)} ${colours.dark ? '72% 63%' : '70% 40%'} / ${alpha})`;
}

/** A canvas that shows one run. */
class Diagram {
  constructor(run, holder) {
    this.run = run;
    this.holder = holder;
    this.canvas = document.createElement('canvas');
    holder.append(this.canvas);
    this.picture = null;
    this.drawn = 0;
  }

  measure() {
    const ratio = window.devicePixelRatio || 1;
    this.width = this.holder.clientWidth;
    this.height = this.holder.clientHeight;
    this.canvas.width = Math.round(this.width * ratio);
    this.canvas.height = Math.round(this.height * ratio);
    this.ratio = ratio;
    this.layOut();
  }

  /** Where each lane lies; spare room makes the lanes higher. */
  layOut() {
    const natural = data.lanes.map(([, , , tracks], lane) => view.thin.has(lane) ? THIN : LANE + tracks * TRACK);
    const sum = natural.reduce((one, other) => one + other, 0) || 1;
    const stretch = Math.min(Math.max((this.height - RULER - 6) / sum, 1), 1.7);
    this.stretch = stretch;
    this.lanes = [];
    let top = 0;
    natural.forEach((height, lane) => {
      const high = view.thin.has(lane) ? height : height * stretch;
      this.lanes.push({ top, height: high, tick: high - (view.thin.has(lane) ? 0 : data.lanes[lane][3] * TRACK * stretch) });
      top += high;
    });
    this.content = top;
  }

  get scroll() { return Math.max(0, Math.min(view.top, this.content - (this.height - RULER))); }
  get scale() { return (this.width - LABELS) / (view.to - view.from); }
  across(x) { return LABELS + (x - view.from) * this.scale; }
  at(entry) { return this.across(this.run.x(entry)); }
  down(lane) { return RULER + this.lanes[lane].top - this.scroll; }
  middle(lane) { return this.down(lane) + this.lanes[lane].tick / 2; }
  laneAt(y) {
    const place = y - RULER + this.scroll;
    return y < RULER ? -1 : this.lanes.findIndex(lane => place >= lane.top && place < lane.top + lane.height);
  }

  /** Draws everything; or, if only what is pointed at has changed, that above the picture of before. */
  draw(all = true) {
    if (!this.width || !this.height) return;
    if (all || !this.picture) this.drawPicture();
    const pen = this.pen = this.canvas.getContext('2d');
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.drawImage(this.picture, 0, 0);
    pen.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    this.inside(() => { this.drawIncident(); this.drawRings(); });
    if (view.hover && view.hover.run === this.run) {
      const lane = this.run.lane[view.hover.at];
      pen.fillStyle = colours.accent;
      pen.fillRect(LABELS - 3, Math.max(this.down(lane) + 1, RULER), 3, this.lanes[lane].height - 2);
    }
  }

  drawPicture() {
    this.picture = this.picture || document.createElement('canvas');
    if (this.picture.width !== this.canvas.width) this.picture.width = this.canvas.width;
    if (this.picture.height !== this.canvas.height) this.picture.height = this.canvas.height;
    const pen = this.pen = this.picture.getContext('2d');
    pen.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    pen.fillStyle = colours.paper;
    pen.fillRect(0, 0, this.width, this.height);
    this.drawn = 0;
    this.inside(() => {
      this.drawStripes();
      this.drawSpans(true);
      this.drawMoments();
      this.drawFaults();
      this.drawSpans(false);
      this.drawArrows();
      this.drawEntries();
      this.drawNothing();
      this.drawCuts();
      this.drawPointers();
      this.drawRuler();
    });
    this.drawLabels();
  }

  /** Draws right of the labels only. */
  inside(draw) {
    const { pen } = this;
    pen.save();
    pen.beginPath();
    pen.rect(LABELS, 0, this.width - LABELS, this.height);
    pen.clip();
    draw();
    pen.restore();
  }

  drawStripes() {
    const { pen } = this;
    data.lanes.forEach(([, group], lane) => {
      const top = this.down(lane), { height } = this.lanes[lane];
      if (lane % 2) { pen.fillStyle = colours.stripe; pen.fillRect(LABELS, top, this.width, height); }
      if (lane && data.lanes[lane - 1][1] !== group) {
        pen.fillStyle = colours.rule;
        pen.fillRect(0, top - 0.5, this.width, 1);
      }
    });
  }

  drawSpans(background) {
    const { pen, run } = this;
    for (let lane = 0; lane < data.lanes.length; lane++) {
      const { tick, height } = this.lanes[lane], top = this.down(lane);
      if (top > this.height || top + height < RULER) continue;
      let lastEnd = -1, lastTrack = -1;
      for (const span of run.spansByLane[lane]) {
        const [, from, to, sort, checkpoint, track, open] = span;
        if ((sort < 2) !== background || view.hidden.has(spanKind[sort])) continue;
        if (view.checkpoint && checkpoint && checkpoint !== view.checkpoint) continue;
        const left = this.at(from), right = this.at(to);
        if (right < LABELS || left > this.width) continue;
        if (background) this.drawBackground(sort, left, right, top, height);
        else if (!view.thin.has(lane)) {
          // Of spans narrower than a pixel one is enough.
          if (track === lastTrack && right < lastEnd + 0.5) continue;
          [lastTrack, lastEnd] = [track, right];
          const track0 = top + tick + track * TRACK * this.stretch;
          pen.globalAlpha = run.replaced[to] ? 0.4 : 1;
          this.drawStage(sort, checkpoint, open, left, Math.max(right, left + 1.5), track0, TRACK * this.stretch - 1.5);
        }
      }
    }
    pen.globalAlpha = 1;
  }

  drawBackground(sort, left, right, top, height) {
    const { pen } = this;
    pen.fillStyle = sort === 0 ? colours.life : colours.attempt;
    pen.fillRect(left, top + 1, right - left, height - 2);
    pen.fillStyle = sort === 0 ? colours.faint : colours.accent;
    pen.globalAlpha = 0.5;
    pen.fillRect(left, top + 1, 1, height - 2);
    pen.globalAlpha = 1;
  }

  /** A stage of a checkpoint: its colour is the checkpoint, how full it is the stage. */
  drawStage(sort, checkpoint, open, left, right, top, height) {
    const { pen } = this;
    const fill = [0, 0, 0.28, 0.2, 1, 0.6, 0.38, 0.6, 1, 0.85, 0.5][sort];
    const colour = checkpoint ? alpha => ofCheckpoint(checkpoint, alpha) : () => colours.accent;
    left = Math.max(left, LABELS - 9);
    right = Math.min(right, this.width + 9);
    pen.fillStyle = colour(fill);
    pen.fillRect(left, top, right - left, height);
    if (right - left > 3) {
      pen.strokeStyle = open ? colours.bad : colour(1);
      pen.lineWidth = 1;
      pen.setLineDash(sort === 3 ? [3, 2] : []);
      pen.strokeRect(left + 0.5, top + 0.5, right - left - 1, height - 1);
      pen.setLineDash([]);
    }
    const label = sort === 2 ? `chk-${checkpoint}` : spanLabel[sort] + (checkpoint ? ' ' + checkpoint : '');
    if (right - left > label.length * 5 + 6 && height > 7) {
      pen.font = `${Math.min(height + 0.5, 10)}px system-ui, sans-serif`;
      pen.fillStyle = fill > 0.7 ? colours.paper : colours.ink;
      pen.textBaseline = 'middle';
      pen.textAlign = 'left';
      pen.fillText(label, Math.max(left, LABELS) + 3, top + height / 2 + 0.5);
    }
  }

  /** How long each fault was armed, and what it is. */
  drawFaults() {
    const { pen, run } = this, lane = data.lanes.findIndex(([, , sort]) => sort === 'faults');
    if (lane < 0 || view.thin.has(lane) || view.hidden.has(kindNumber.faults)) return;
    run.faults.forEach(([text, struck], number) => {
      const top = this.down(lane) + this.lanes[lane].tick + number * TRACK * this.stretch;
      const height = TRACK * this.stretch - 1.5;
      const left = Math.max(this.at(0), LABELS), right = struck === null ? this.at(run.size - 1) : this.at(struck);
      if (right < LABELS) return;
      pen.fillStyle = pen.strokeStyle = colours.warn;
      pen.globalAlpha = struck === null ? 0.1 : 0.22;
      pen.fillRect(left, top, right - left, height);
      pen.globalAlpha = 1;
      if (struck !== null) pen.fillRect(right - 1, top, 2, height);
      pen.font = `${Math.min(height + 0.5, 10)}px system-ui, sans-serif`;
      pen.textAlign = 'left';
      pen.textBaseline = 'middle';
      pen.fillStyle = struck === null ? colours.faint : colours.ink;
      pen.fillText(`${number}: ${text}${struck === null ? ' (never strikes)' : ''}`, left + 3, top + height / 2 + 0.5);
    });
  }

  /** Faults and new attempts concern everybody: lines through all lanes. */
  drawMoments() {
    const { pen, run } = this;
    const strike = (lane, colour, dash, wanted) => {
      const list = run.byLane[lane];
      for (let n = run.before(list, view.from); n < list.length; n++) {
        const x = this.at(list[n]);
        if (x > this.width) break;
        if (!wanted(list[n]) || !run.shows(list[n])) continue;
        pen.strokeStyle = colour;
        pen.globalAlpha = 0.55;
        pen.setLineDash(dash);
        pen.beginPath();
        pen.moveTo(x, RULER);
        pen.lineTo(x, Math.min(this.height, RULER + this.content));
        pen.stroke();
      }
      pen.setLineDash([]);
      pen.globalAlpha = 1;
    };
    pen.lineWidth = 1;
    data.lanes.forEach(([, , sort], lane) => {
      if (sort === 'faults') strike(lane, colours.warn, [4, 3], () => true);
      if (sort === 'process') strike(lane, colours.accent, [1, 3], at => run.sign[at] === 'flag');
    });
  }

  drawArrows() {
    const { pen, run } = this;
    // The more arrows, the fainter those that are not barriers.
    const visible = run.arrows.reduce((sum, [from, to]) => sum + (run.x(to) >= view.from && run.x(from) <= view.to), 0);
    const faint = view.checkpoint ? 0.5 : Math.min(0.5, 30 / visible);
    pen.lineWidth = 1.2;
    const seen = new Set(), batches = new Map();
    for (let number = 0; number < run.arrows.length; number++) {
      const [from, to, sort, checkpoint] = run.arrows[number];
      if (view.hidden.has(arrowKind[sort]) || (view.checkpoint && checkpoint !== view.checkpoint)) continue;
      if (sort !== 0 && faint < 0.08) continue;
      const left = this.at(from), right = this.at(to);
      if (right < LABELS || left > this.width) continue;
      const one = run.lane[from], other = run.lane[to];
      if (view.thin.has(one) || view.thin.has(other)) continue;
      const key = ((left | 0) * 512 + one) * 512 + other;
      if (right - left < 2 && seen.has(key)) continue;
      seen.add(key);
      const batch = checkpoint * 8 + sort;
      if (!batches.has(batch)) batches.set(batch, []);
      batches.get(batch).push([left, this.middle(one), right, this.middle(other)]);
    }
    for (const [batch, arrows] of batches) {
      this.drawBatch(arrows, batch % 8, Math.floor(batch / 8), batch % 8 === 0 ? 0.75 : faint);
    }
  }

  /** The arrows that begin or end at what is pointed at. */
  drawIncident() {
    const { pen, run } = this;
    pen.lineWidth = 2;
    for (const place of [view.hover, view.chosen]) {
      if (!place || place.run !== run) continue;
      for (const number of run.incident.get(place.at) || []) {
        const [from, to, sort, checkpoint] = run.arrows[number];
        const ends = [this.at(from), this.middle(run.lane[from]), this.at(to), this.middle(run.lane[to])];
        this.drawBatch([ends], sort, checkpoint, 1);
      }
    }
    pen.lineWidth = 1;
  }

  /** Arrows of one sort and one checkpoint, in one stroke. */
  drawBatch(arrows, sort, checkpoint, alpha) {
    const { pen } = this;
    pen.strokeStyle = pen.fillStyle = ofCheckpoint(checkpoint, alpha);
    pen.setLineDash(sort === 0 ? [] : sort === 1 || sort === 4 || sort === 6 ? [2, 3] : [5, 3]);
    pen.beginPath();
    arrows.forEach(([left, top, right, bottom]) => { pen.moveTo(left, top); pen.lineTo(right, bottom); });
    pen.stroke();
    pen.setLineDash([]);
    if (sort > 1) return;
    pen.beginPath();
    for (const [left, top, right, bottom] of arrows) {
      const length = Math.hypot(right - left, bottom - top);
      if (length < 14) continue;
      const [x, y] = [(right - left) / length, (bottom - top) / length];
      pen.moveTo(right, bottom);
      pen.lineTo(right - x * 6 - y * 2.6, bottom - y * 6 + x * 2.6);
      pen.lineTo(right - x * 6 + y * 2.6, bottom - y * 6 - x * 2.6);
    }
    pen.fill();
  }

  drawEntries() {
    const { run } = this, lastOf = new Float64Array(run.looks);
    for (let lane = 0; lane < data.lanes.length; lane++) {
      const top = this.down(lane), { tick, height } = this.lanes[lane];
      if (top > this.height || top + height < RULER) continue;
      const list = run.byLane[lane];
      const thin = view.thin.has(lane);
      lastOf.fill(-1e9);
      for (let n = run.before(list, view.from - 8 / this.scale); n < list.length; n++) {
        const at = list[n], x = this.at(at);
        if (x > this.width + 8) break;
        if (!run.shows(at)) continue;
        if (x - lastOf[run.look[at]] < 0.8) continue;
        lastOf[run.look[at]] = x;
        this.drawn++;
        this.drawEntry(at, x, top + tick / 2, thin ? 3 : Math.min(tick, 18));
      }
    }
  }

  /** Says so if a run has no entry at all where one looks: it may be over, or have none yet. */
  drawNothing() {
    const { pen, run } = this;
    const within = list => { const n = run.before(list, view.from); return n < list.length && run.x(list[n]) <= view.to; };
    const spans = run.spans.some(([, from, to]) => run.x(from) <= view.to && run.x(to) >= view.from);
    if (!run.size || spans || run.byLane.some(within)) return;
    const last = run.size - 1, after = run.x(last) < view.from;
    const says = after ? `over: the last entry of this run is ${run.number(last)}, at ${run.time[last].toFixed(3)} ms` : 'nothing happens here in this run';
    pen.font = '13px system-ui, sans-serif';
    pen.fillStyle = colours.faint;
    pen.textAlign = 'center';
    pen.textBaseline = 'middle';
    pen.fillText(says, (LABELS + this.width) / 2, (RULER + this.height) / 2);
  }

  drawEntry(at, x, y, size) {
    const { pen, run } = this, alpha = run.replaced[at] ? 0.35 : 1;
    const checkpoint = run.checkpoint[at], kind = run.kind[at], sign = size < 6 ? null : run.sign[at];
    pen.fillStyle = pen.strokeStyle = checkpoint && hues.has(checkpoint) ? ofCheckpoint(checkpoint) :
      kind === kindNumber.elements ? colours.faint : kind === kindNumber.faults ? colours.warn : colours.ink;
    if (!sign) {
      const high = kind === kindNumber.elements ? size * 0.35 : size * 0.6;
      pen.globalAlpha = alpha * (kind === kindNumber.elements ? 0.7 : 0.9);
      pen.fillRect(x - 0.5, y - high / 2, 1, high);
      pen.globalAlpha = 1;
      return;
    }
    pen.globalAlpha = alpha;
    pen.lineWidth = 1.6;
    pen.beginPath();
    const shape = {
      diamond: () => { pen.moveTo(x, y - 5); pen.lineTo(x + 4, y); pen.lineTo(x, y + 5); pen.lineTo(x - 4, y); },
      barrier: () => pen.rect(x - 1.25, y - 6, 2.5, 12),
      dot: () => pen.arc(x, y, 2.4, 0, 7),
      square: () => pen.rect(x - 3.5, y - 3.5, 7, 7),
      up: () => { pen.moveTo(x, y - 4.5); pen.lineTo(x + 4.5, y + 4); pen.lineTo(x - 4.5, y + 4); },
      flag: () => { pen.moveTo(x, y + 6); pen.lineTo(x, y - 6); pen.lineTo(x + 7, y - 3); pen.lineTo(x, y); },
      bolt: () => { pen.moveTo(x + 2, y - 7); pen.lineTo(x - 4, y + 1.5); pen.lineTo(x - 0.4, y + 1.5);
        pen.lineTo(x - 2, y + 7); pen.lineTo(x + 4, y - 1.5); pen.lineTo(x + 0.4, y - 1.5); },
      star: () => { for (let k = 0; k < 10; k++) pen.lineTo(x + Math.sin(k * Math.PI / 5) * (k % 2 ? 2.8 : 6.5),
        y - Math.cos(k * Math.PI / 5) * (k % 2 ? 2.8 : 6.5)); },
    }[sign];
    if (shape) { shape(); pen.closePath(); pen.fill(); pen.globalAlpha = 1; return; }
    // A cross, and a bold red one for a crash.
    const arm = sign === 'crash' ? 5 : 3.5;
    if (sign === 'crash') { pen.strokeStyle = colours.bad; pen.lineWidth = 2.6; }
    pen.moveTo(x - arm, y - arm); pen.lineTo(x + arm, y + arm);
    pen.moveTo(x + arm, y - arm); pen.lineTo(x - arm, y + arm);
    pen.stroke();
    pen.globalAlpha = 1;
  }

  /** The cut of the chosen checkpoint, and of the violated one. */
  drawCuts() {
    const { run } = this;
    for (const [checkpoint, , snapshots] of run.cuts) {
      const violated = checkpoint === run.violated;
      if (checkpoint !== view.checkpoint && !(violated && !view.checkpoint)) continue;
      this.drawCut(checkpoint, snapshots, violated);
      if (violated && run.torn) this.drawTorn(run.torn);
    }
  }

  /** The channel that a cut does not cut behind the same record, and the first record in between. */
  drawTorn([sent, taken, record, about]) {
    const { pen, run } = this;
    const [left, top, right, bottom] = [this.at(sent), this.middle(run.lane[sent]), this.at(taken), this.middle(run.lane[taken])];
    pen.strokeStyle = colours.bad;
    pen.lineWidth = 4;
    pen.setLineDash([7, 5]);
    pen.beginPath();
    pen.moveTo(left, top);
    pen.lineTo(right, bottom);
    pen.stroke();
    pen.setLineDash([]);
    pen.lineWidth = 1;
    if (record === null || this.at(record) < LABELS || this.at(record) > this.width) return;
    this.ring(record, colours.bad, 5);
    this.tag(this.at(record), this.middle(run.lane[record]) + 17, about, colours.bad);
  }

  drawCut(checkpoint, snapshots, violated) {
    const { pen, run } = this;
    const points = snapshots.map(at => ({ at, lane: run.lane[at] })).filter(({ lane }) => !view.thin.has(lane))
      .sort((one, other) => one.lane - other.lane).map(({ at, lane }) => [this.at(at), this.middle(lane)]);
    if (!points.length) return;
    pen.beginPath();
    points.forEach(([x, y]) => pen.lineTo(x, y));
    pen.lineJoin = 'round';
    pen.strokeStyle = colours.paper;
    pen.globalAlpha = 0.8;
    pen.lineWidth = 6;
    pen.stroke();
    pen.globalAlpha = 1;
    pen.strokeStyle = violated ? colours.bad : ofCheckpoint(checkpoint);
    pen.lineWidth = 2.2;
    pen.stroke();
    points.forEach(([x, y]) => {
      pen.beginPath();
      pen.arc(x, y, 4.5, 0, 7);
      pen.fillStyle = colours.paper;
      pen.fill();
      pen.stroke();
    });
    pen.lineWidth = 1;
    const [x, y] = points[points.length - 1];
    // Beside its end, in the row of entries: below it lie the spans.
    const text = violated ? `cut of chk-${checkpoint}, which the verdict is about` : `cut of chk-${checkpoint}`;
    pen.font = TAG_FONT;
    const beside = pen.measureText(text).width / 2 + 18;
    this.tag(x - beside > LABELS + beside ? x - beside : x + beside, y, text, violated ? colours.bad : ofCheckpoint(checkpoint));
  }

  tag(x, y, text, colour) {
    const { pen } = this;
    pen.font = TAG_FONT;
    const width = pen.measureText(text).width + 10;
    const left = Math.max(LABELS + 2, Math.min(x - width / 2, this.width - width - 2));
    const top = Math.max(RULER + 1, Math.min(y - 8, this.height - 17));
    pen.fillStyle = colour;
    pen.beginPath();
    pen.roundRect(left, top, width, 16, 3);
    pen.fill();
    pen.fillStyle = colours.paper;
    pen.textAlign = 'left';
    pen.textBaseline = 'middle';
    pen.fillText(text, left + 5, top + 8.5);
  }

  /** The first bad step and the parting of the runs. */
  drawPointers() {
    const { pen, run } = this;
    const line = (at, colour, text, y, wide) => {
      if (at === null || at === undefined || !run.size) return;
      const x = this.at(Math.min(at, run.size - 1));
      if (x < LABELS - 200 || x > this.width + 200) return;
      pen.strokeStyle = colour;
      pen.lineWidth = wide;
      pen.beginPath();
      pen.moveTo(x, RULER);
      pen.lineTo(x, this.height);
      pen.stroke();
      if (text) this.tag(x, y, text, colour);
    };
    line(run.parting, colours.accent, 'here the runs part', this.height - 12, 1.4);
    const what = run === runs[0] ? `: ${data.header.what.split('\n')[0]}` : '';
    line(run.step, colours.bad, `first bad step${what.length > 130 ? what.slice(0, 128) + '…' : what}`, RULER + 10, 1.4);
    if (run.step !== null && run.step < run.size) this.ring(run.step, colours.bad, 9);
  }

  drawRings() {
    const { run } = this;
    if (view.chosen && view.chosen.run === run) this.ring(view.chosen.at, colours.accent, 8);
    if (view.hover && view.hover.run === run) this.ring(view.hover.at, colours.ink, 6);
  }

  ring(at, colour, radius) {
    const { pen } = this;
    pen.strokeStyle = colour;
    pen.lineWidth = 2;
    pen.beginPath();
    pen.arc(this.at(at), this.middle(this.run.lane[at]), radius, 0, 7);
    pen.stroke();
    pen.lineWidth = 1;
  }

  drawRuler() {
    const { pen } = this;
    pen.fillStyle = colours.panel;
    pen.fillRect(LABELS, 0, this.width, RULER);
    pen.fillStyle = colours.rule;
    pen.fillRect(0, RULER - 1, this.width, 1);
    const rough = (view.to - view.from) / Math.max(this.width - LABELS, 1) * 110;
    const power = 10 ** Math.floor(Math.log10(rough));
    let step = [1, 2, 5, 10].map(times => times * power).find(times => times >= rough) || power * 10;
    if (view.byOrder) step = Math.max(1, Math.round(step));
    pen.font = '11px system-ui, sans-serif';
    pen.textAlign = 'left';
    pen.textBaseline = 'middle';
    for (let x = Math.max(0, Math.ceil(view.from / step) * step); x <= view.to; x += step) {
      const place = this.across(x);
      pen.fillStyle = colours.rule;
      pen.fillRect(place, RULER - 6, 1, 6);
      pen.fillStyle = colours.faint;
      const digits = Math.max(0, -Math.floor(Math.log10(step)));
      pen.fillText(view.byOrder ? `#${x}` : `${x.toFixed(digits)} ms`, place + 3, RULER / 2 - 1);
    }
  }

  drawLabels() {
    const { pen } = this;
    pen.fillStyle = colours.panel;
    pen.fillRect(0, 0, LABELS, this.height);
    data.lanes.forEach(([name, group, sort], lane) => {
      const top = this.down(lane), { tick, height } = this.lanes[lane];
      if (top > this.height || top + height < RULER || height < 9) return;
      const own = sort === 'process' || sort === 'faults';
      pen.font = `${own ? '650 ' : ''}11.5px system-ui, sans-serif`;
      pen.textBaseline = 'middle';
      pen.textAlign = 'left';
      pen.fillStyle = own ? colours.ink : sort === 'output' ? colours.good : colours.ink;
      const shown = sort === 'storage' ? `storage · ${name}` : sort === 'output' ? `${name} (visible)` : name;
      pen.fillText(shown, own || sort === 'storage' || sort === 'output' ? 12 : 26, top + Math.max(tick, 12) / 2 + 0.5,
        LABELS - 30);
      if (lane && data.lanes[lane - 1][1] !== group) {
        pen.fillStyle = colours.rule;
        pen.fillRect(0, top - 0.5, LABELS, 1);
      }
    });
    pen.fillStyle = colours.panel;
    pen.fillRect(0, 0, LABELS, RULER - 1);
    pen.fillStyle = colours.faint;
    pen.font = '11px system-ui, sans-serif';
    pen.textAlign = 'left';
    pen.fillText(view.byOrder ? 'entries in order' : 'virtual time', 12, RULER / 2);
    pen.fillStyle = colours.rule;
    pen.fillRect(LABELS - 1, 0, 1, this.height);
    const room = this.height - RULER;
    if (this.content > room) {
      // How far down the lanes are scrolled.
      pen.fillStyle = colours.faint;
      pen.globalAlpha = 0.6;
      pen.fillRect(this.width - 5, RULER + this.scroll / this.content * room, 4, room / this.content * room);
      pen.globalAlpha = 1;
    }
  }

  /** The entry nearest to a place, in its lane. */
  find(x, y) {
    const lane = this.laneAt(y);
    if (lane < 0 || x < LABELS) return null;
    const { run } = this, list = run.byLane[lane];
    const wanted = view.from + (x - LABELS) / this.scale;
    const middle = run.before(list, wanted);
    let best = null, distance = 9;
    for (const step of [-1, 1]) {
      for (let n = step < 0 ? middle - 1 : middle; n >= 0 && n < list.length; n += step) {
        const away = Math.abs(this.at(list[n]) - x);
        if (away > 9) break;
        // Signs are seen before ticks.
        const weighed = away - (run.sign[list[n]] ? 1.5 : 0);
        if (weighed < distance && run.shows(list[n])) { distance = weighed; best = list[n]; }
      }
    }
    return best === null ? null : { run, at: best };
  }

  /** The span under a place. */
  spanAt(x, y) {
    const lane = this.laneAt(y);
    if (lane < 0 || x < LABELS) return null;
    const track = Math.floor((y - this.down(lane) - this.lanes[lane].tick) / (TRACK * this.stretch));
    return this.run.spansByLane[lane].find(([, from, to, sort, , own]) =>
      sort > 1 && own === track && this.at(from) <= x && x <= Math.max(this.at(to), this.at(from) + 2)) || null;
  }
}
