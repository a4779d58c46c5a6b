// The predicted aligned errors as a picture: a cross under the pointer, and a block that is marked on the structure.
'use strict';

const LEFT = 58, RIGHT = 14, TOP = 8, BELOW = 46, WIDEST = 560;  // CSS pixels
const SCORED = '#d6157f', ALIGNED = '#3b3bd6';  // on the map, which is as light in the dark

class PaeMap extends Sheet {
  constructor(page) {
    super('pae', (width) => Math.min(WIDEST, width - LEFT - RIGHT) + TOP + BELOW);
    this.page = page;
    this.cross = null;  // [aligned, scored]
    this.anchor = null;  // where a block begins
    const canvas = this.canvas;
    canvas.addEventListener('pointerdown', (event) => this.press(event));
    canvas.addEventListener('pointermove', (event) => this.move(event));
    canvas.addEventListener('pointerup', (event) => this.release(event));
    canvas.addEventListener('pointerleave', () => { if (!this.anchor) this.point(null); });
    canvas.addEventListener('pointercancel', () => { this.anchor = null; });
    canvas.addEventListener('keydown', (event) => this.typed(event));
    canvas.addEventListener('blur', () => { this.anchor = null; });
    find('no-block').addEventListener('click', () => page.change({block: null}));
  }

  show(errors) {
    this.errors = errors;
    this.image = errors && this.painted(errors);
    this.refresh();
    this.tell();
  }

  painted({side, units}) {
    const colours = new Uint32Array(256);
    const bytes = new Uint8Array(colours.buffer);
    for (let i = 0; i < 256; i++) bytes.set([...scaled('pae', i * facts.pae_step / facts.max_pae), 255], 4 * i);
    const pixels = new ImageData(side, side);
    const packed = new Uint32Array(pixels.data.buffer);
    for (let i = 0; i < packed.length; i++) packed[i] = colours[units[i]];
    const image = element('canvas', {width: side, height: side});
    image.getContext('2d').putImageData(pixels, 0, 0);
    return image;
  }

  get side() { return this.height - TOP - BELOW; }

  x(residue) { return LEFT + residue / numResidues * this.side; }
  y(residue) { return TOP + residue / numResidues * this.side; }

  paint(pen) {
    const text = themed('text'), side = this.side;
    if (!this.image) {
      if (this.errors === null) write(pen, 'This model predicts no aligned error.', this.width / 2, 40, themed('faint'));
      return;
    }
    const covered = this.errors.side * this.errors.block;  // residues, those of a last block that are not there included
    pen.save();
    pen.beginPath();
    pen.rect(LEFT, TOP, side, side);
    pen.clip();
    pen.imageSmoothingEnabled = this.errors.side > side * this.ratio;
    pen.imageSmoothingQuality = 'high';
    pen.drawImage(this.image, LEFT, TOP, covered / numResidues * side, covered / numResidues * side);
    pen.restore();
    for (const start of firstOfChain.slice(1)) {
      rule(pen, this.x(start), TOP, this.x(start), TOP + side, '#000000');
      rule(pen, LEFT, this.y(start), LEFT + side, this.y(start), '#000000');
    }
    pen.strokeStyle = text;
    pen.lineWidth = 1;
    pen.strokeRect(LEFT, TOP, side, side);
    for (const [place, label] of axisLabels(pen, side, 6)) {
      rule(pen, this.x(place), TOP + side, this.x(place), TOP + side + 4, text);
      rule(pen, LEFT - 4, this.y(place), LEFT, this.y(place), text);
      write(pen, label, this.x(place), TOP + side + 13, text);
      write(pen, label, LEFT - 7, this.y(place), text, 'right');
    }
    write(pen, 'Scored residue', LEFT + side / 2, TOP + side + 34, text);
    writeUpright(pen, 'Aligned residue', 11, TOP + side / 2, text);
  }

  overlay(pen) {
    if (!this.image) return;
    const block = this.dragged() ?? this.page.state.block, side = this.side;
    if (block) {
      const [left, right] = [this.x(block.scored[0]), this.x(block.scored[1] + 1)];
      const [top, bottom] = [this.y(block.aligned[0]), this.y(block.aligned[1] + 1)];
      pen.strokeStyle = '#ffffff';
      pen.lineWidth = 5;
      pen.strokeRect(left, top, right - left, bottom - top);
      for (const y of [top, bottom]) rule(pen, left, y, right, y, SCORED, 3);
      for (const x of [left, right]) rule(pen, x, top, x, bottom, ALIGNED, 3);
      rule(pen, left, TOP + side + 2, right, TOP + side + 2, themed('scored'), 4);
      rule(pen, LEFT - 2, top, LEFT - 2, bottom, themed('aligned'), 4);
    }
    if (this.cross) {
      const [x, y] = [this.x(this.cross[1] + 0.5), this.y(this.cross[0] + 0.5)];
      for (const [colour, width] of [['#ffffff', 2], ['#000000', 0.8]]) {
        rule(pen, x, TOP, x, TOP + side, colour, width);
        rule(pen, LEFT, y, LEFT + side, y, colour, width);
      }
    }
  }

  // The pair of residues at the pointer; `clamped`: the nearest one, else null beside the picture.
  pairAt(event, clamped) {
    const [x, y] = this.pointed(event);
    const pair = [y - TOP, x - LEFT].map((pixels) => Math.floor(pixels / this.side * numResidues));
    if (clamped) return pair.map((residue) => Math.min(numResidues - 1, Math.max(0, residue)));
    return pair.every((residue) => 0 <= residue && residue < numResidues) ? pair : null;
  }

  // The block between the anchor and the cross while it is being marked.
  dragged() {
    if (!this.anchor || !this.cross) return null;
    const [aligned, scored] = [0, 1].map((i) => [this.anchor[i], this.cross[i]].sort((a, b) => a - b));
    return {scored, aligned};
  }

  press(event) {
    const pair = this.errors && event.button === 0 && this.pairAt(event, false);
    if (!pair) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.anchor = pair;
    this.point(pair);
  }

  move(event) {
    if (this.errors) this.point(this.pairAt(event, Boolean(this.anchor)));
  }

  release() {
    const block = this.dragged();
    this.anchor = null;
    if (!block) return;
    const isClick = block.scored[0] === block.scored[1] && block.aligned[0] === block.aligned[1];
    this.page.change({block: isClick ? null : block});
  }

  typed(event) {
    const moves = {ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0]};
    if (event.key === 'Escape') {
      this.anchor = null;
      this.page.change({block: null});
    } else if (moves[event.key] && this.errors) {
      event.preventDefault();
      const before = this.cross ?? [0, 0], step = Math.ceil(numResidues / 150);
      if (!event.shiftKey) this.anchor = null;
      else this.anchor ??= before;
      const pair = before.map((residue, i) => Math.min(numResidues - 1, Math.max(0, residue + step * moves[event.key][i])));
      this.point(pair);
      if (event.shiftKey) this.page.change({block: this.dragged()});
    }
  }

  point(pair) {
    this.cross = pair;
    this.page.change({residue: pair && pair[1]});
    this.mark();
    this.tell();
  }

  // Says the error under the cross, and the block's ranges with its mean.
  tell() {
    const said = find('pae-said'), block = this.dragged() ?? this.page.state.block;
    said.replaceChildren();
    if (this.cross && this.errors) {
      const [aligned, scored] = this.cross;
      said.append(`${residueName(scored)}, aligned on ${residueName(aligned)}: `,
        element('strong', {}, `${this.errors.at(aligned, scored).toFixed(1)} Å`));
    }
    find('no-block').disabled = !this.page.state.block;
    find('block-said').replaceChildren(...(block && this.errors ? [
      'Block: scored ', element('span', {class: 'scored'}, rangeName(block.scored)),
      ', aligned ', element('span', {class: 'aligned'}, rangeName(block.aligned)),
      `; mean ${this.mean(block).toFixed(1)} Å`,
    ] : []));
  }

  mean({scored, aligned}) {
    const {block, side, units} = this.errors;
    const [left, right, top, bottom] = [...scored, ...aligned].map((residue) => Math.floor(residue / block));
    let sum = 0;
    for (let row = top; row <= bottom; row++) {
      for (let i = row * side + left; i <= row * side + right; i++) sum += units[i];
    }
    return sum * facts.pae_step / ((bottom - top + 1) * (right - left + 1));
  }
}
