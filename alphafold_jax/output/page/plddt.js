// pLDDT along the sequence on its bands: the chosen model in front of the others, the block's stretches below.
'use strict';

class PlddtChart extends Sheet {
  constructor(page) {
    super('plddt', () => 230);
    this.page = page;
    this.left = 44;
    this.top = 18;
    this.bottom = 46;
    const canvas = this.canvas;
    canvas.addEventListener('pointermove', (event) => page.change({residue: this.residueAt(event)}));
    canvas.addEventListener('pointerleave', () => page.change({residue: null}));
    canvas.addEventListener('click', (event) => page.focus(this.residueAt(event)));
    canvas.addEventListener('keydown', (event) => this.typed(event));
  }

  x(residue) { return this.left + residue / numResidues * (this.width - this.left - 8); }
  y(plddt) { return this.top + (100 - plddt) / 100 * (this.height - this.top - this.bottom); }

  paint(pen) {
    const text = themed('text'), right = this.x(numResidues), chosen = this.page.state.model;
    for (const band of facts.bands) {
      pen.globalAlpha = 0.25;
      pen.fillStyle = band.colour;
      pen.fillRect(this.left, this.y(band.to), right - this.left, this.y(band.from) - this.y(band.to));
      pen.globalAlpha = 1;
    }
    for (const value of [0, 50, 70, 90, 100]) write(pen, `${value}`, this.left - 6, this.y(value), text, 'right');
    writeUpright(pen, 'pLDDT', 10, (this.y(0) + this.y(100)) / 2, text);
    facts.models.forEach((model, i) => { if (i !== chosen) this.line(pen, model.plddt, themed('faint'), 0.7, 0.45); });
    this.line(pen, facts.models[chosen].plddt, text, 1.5, 1);
    for (const start of firstOfChain.slice(1)) rule(pen, this.x(start), this.top, this.x(start), this.y(0), text);
    for (const [place, label] of axisLabels(pen, right - this.left, Math.floor(this.width / 60))) {
      if (hasChains) write(pen, label, this.x(place), this.top - 9, text);
      else write(pen, label, this.x(place), this.y(0) + 13, text);
    }
    pen.strokeStyle = text;
    pen.lineWidth = 1;
    pen.strokeRect(this.left, this.top, right - this.left, this.y(0) - this.top);
    write(pen, hasChains ? 'Residues of all chains' : 'Residue', (this.left + right) / 2, this.height - 7, text);
  }

  line(pen, values, colour, width, alpha) {
    pen.globalAlpha = alpha;
    pen.strokeStyle = colour;
    pen.lineWidth = width;
    pen.lineJoin = 'round';
    for (const [i, start] of firstOfChain.entries()) {
      pen.beginPath();
      for (let residue = start; residue < start + facts.chains[i].length; residue++) {
        pen.lineTo(this.x(residue + 0.5), this.y(values[residue]));
      }
      pen.stroke();
    }
    pen.globalAlpha = 1;
  }

  overlay(pen) {
    const {block, residue} = this.page.state, below = this.y(0);
    if (block) {
      [['scored', 21], ['aligned', 27]].forEach(([which, down]) => {
        pen.fillStyle = themed(which);
        const [first, last] = block[which];
        pen.fillRect(this.x(first), below + down, Math.max(2, this.x(last + 1) - this.x(first)), 4);
      });
    }
    if (residue !== null) {
      const x = this.x(residue + 0.5), y = this.y(this.values[residue]);
      rule(pen, x, this.top, x, below, themed('text'));
      pen.fillStyle = bandOf(this.values[residue]).colour;
      pen.strokeStyle = themed('text');
      pen.beginPath();
      pen.arc(x, y, 4.5, 0, 2 * Math.PI);
      pen.fill();
      pen.stroke();
    }
  }

  get values() { return facts.models[this.page.state.model].plddt; }

  residueAt(event) {
    const share = (this.pointed(event)[0] - this.left) / (this.x(numResidues) - this.left);
    return share < 0 || share >= 1 ? null : Math.floor(share * numResidues);
  }

  typed(event) {
    const {residue} = this.page.state, last = numResidues - 1;
    const next = {
      ArrowLeft: residue === null ? last : Math.max(0, residue - 1),
      ArrowRight: residue === null ? 0 : Math.min(last, residue + 1),
      Home: 0,
      End: last,
    }[event.key];
    if (next !== undefined) {
      event.preventDefault();
      this.page.change({residue: next});
    } else if (event.key === 'Enter') {
      this.page.focus(residue);
    }
  }
}
