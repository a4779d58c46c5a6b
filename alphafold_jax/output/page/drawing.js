// Elements and canvases.
'use strict';

const find = (id) => document.getElementById(id);
const themed = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

// An element with attributes, and children that are elements or plain text, never markup.
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// A colour of a scale [red, green, blue] for a share from 0 to 1.
function scaled(name, share) {
  const place = 3 * Math.round(255 * Math.min(1, Math.max(0, share)));
  return facts.scales[name].slice(place, place + 3);
}

// Round whole numbers within a range, evenly spaced, as many as are allowed.
function ticks(low, high, atMost) {
  for (let power = 1; ; power *= 10) {
    for (const factor of [1, 2, 5]) {
      const step = factor * power, first = Math.ceil(low / step) * step;
      const count = Math.floor((high - first) / step) + 1;
      if (count <= atMost) return Array.from({length: Math.max(0, count)}, (_, i) => first + i * step);
    }
  }
}

// A canvas as sharp as the screen and as wide as its place: `paint` draws what stays, `overlay` what follows the pointer.
class Sheet {
  constructor(id, heightOf) {
    this.canvas = find(id);
    this.heightOf = heightOf;  // of the width, both in CSS pixels
    this.under = document.createElement('canvas');
    new ResizeObserver(() => { if (this.place().clientWidth !== this.width) this.refresh(); }).observe(this.place());
  }

  place() { return this.canvas.parentElement; }

  refresh() {
    this.width = this.place().clientWidth;
    if (!this.width) return;  // hidden
    this.height = this.heightOf(this.width);
    this.ratio = window.devicePixelRatio || 1;
    for (const canvas of [this.canvas, this.under]) {
      canvas.width = Math.round(this.width * this.ratio);
      canvas.height = Math.round(this.height * this.ratio);
    }
    this.canvas.style.width = `${this.width}px`;
    this.canvas.style.height = `${this.height}px`;
    this.paint(this.pen(this.under));
    this.mark();
  }

  mark() {
    if (!this.width) return;
    const pen = this.pen(this.canvas);
    pen.clearRect(0, 0, this.width, this.height);
    pen.drawImage(this.under, 0, 0, this.width, this.height);
    this.overlay(pen);
  }

  pen(canvas) {
    const pen = canvas.getContext('2d');
    pen.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    pen.font = '12px system-ui, sans-serif';
    return pen;
  }

  overlay() {}

  // Where the pointer is, in CSS pixels of the canvas.
  pointed(event) {
    const box = this.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }
}

function rule(pen, x0, y0, x1, y1, colour, width = 1) {
  pen.strokeStyle = colour;
  pen.lineWidth = width;
  pen.beginPath();
  pen.moveTo(x0, y0);
  pen.lineTo(x1, y1);
  pen.stroke();
}

function write(pen, text, x, y, colour, align = 'center', baseline = 'middle') {
  pen.fillStyle = colour;
  pen.textAlign = align;
  pen.textBaseline = baseline;
  pen.fillText(text, x, y);
}

function writeUpright(pen, text, x, y, colour) {
  pen.save();
  pen.translate(x, y);
  pen.rotate(-Math.PI / 2);
  write(pen, text, 0, 0, colour);
  pen.restore();
}

// What is written along an axis of residues: numbers of a single chain, else names of chains where there is room.
function axisLabels(pen, pixels, atMost) {
  if (!hasChains) {
    const first = facts.numbers[0];
    return ticks(first, facts.numbers.at(-1), atMost).map((number) => [number - first + 0.5, `${number}`]);
  }
  return facts.chains.flatMap((chain, i) => {
    const room = chain.length / numResidues * pixels;
    return pen.measureText(chain.name).width < room ? [[firstOfChain[i] + chain.length / 2, chain.name]] : [];
  });
}
