// The alignment: its rows coloured by identity to the query, and how many of them cover each position.
'use strict';

class Coverage extends Sheet {
  constructor() {
    super('coverage', () => 240);
    this.left = 62;
    this.top = 18;
    this.bottom = 40;
  }

  async open() {
    const {rows} = facts.alignment, bytes = await unpacked('alignment');
    const pixels = new ImageData(numResidues, rows);
    bytes.forEach((identity, i) => {
      if (identity !== facts.gap) pixels.data.set([...scaled('identity', identity / 100), 255], 4 * i);
    });
    this.image = element('canvas', {width: numResidues, height: rows});
    this.image.getContext('2d').putImageData(pixels, 0, 0);
    this.refresh();
  }

  paint(pen) {
    if (!this.image) return;
    const {num_seq: numRows, ends, depth} = facts.alignment, text = themed('text');
    const right = this.width - 8, below = this.height - this.bottom, tall = below - this.top;
    const x = (residue) => this.left + residue / numResidues * (right - this.left);
    const y = (count) => below - count / numRows * tall;
    pen.fillStyle = themed('grid');
    pen.fillRect(this.left, this.top, right - this.left, tall);
    pen.imageSmoothingEnabled = false;
    pen.drawImage(this.image, this.left, this.top, right - this.left, tall);
    if (ends.length <= 40) for (const end of ends) rule(pen, this.left, this.top + end * tall, right, this.top + end * tall, text, 0.7);
    for (const [colour, width] of [['#ffffff', 3.5], ['#000000', 1.3]]) {
      pen.strokeStyle = colour;
      pen.lineWidth = width;
      pen.beginPath();
      depth.forEach((count, residue) => { pen.lineTo(x(residue), y(count)); pen.lineTo(x(residue + 1), y(count)); });
      pen.stroke();
    }
    for (const start of firstOfChain.slice(1)) rule(pen, x(start), this.top, x(start), below, text);
    for (const [place, label] of axisLabels(pen, right - this.left, Math.floor(this.width / 60))) {
      write(pen, label, x(place), hasChains ? this.top - 9 : below + 13, text);
    }
    for (const count of ticks(0, numRows, 6)) write(pen, count.toLocaleString('en'), this.left - 6, y(count), text, 'right');
    writeUpright(pen, 'Sequences', 10, (this.top + below) / 2, text);
    write(pen, 'The line is how many sequences cover a position', (this.left + right) / 2, this.height - 8, themed('faint'));
    pen.strokeStyle = text;
    pen.lineWidth = 1;
    pen.strokeRect(this.left, this.top, right - this.left, tall);
  }
}
