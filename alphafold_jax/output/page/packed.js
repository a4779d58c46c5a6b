// What Python packed (packing.py), read: facts, atoms, errors and the alignment. Residues are counted from 0 over all chains.
'use strict';

const facts = JSON.parse(document.getElementById('facts').textContent);

// The bytes of an element that holds base64, unpacked by the browser: 'deflate' is zlib's form, 'gzip' that of the viewer.
async function unpacked(id, format = 'deflate') {
  const letters = atob(document.getElementById(id).textContent);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = letters.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream(format));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// Numbers of two bytes from their planes: `count` low bytes at `start`, then as many high ones.
function fromPlanes(bytes, start, count) {
  const numbers = new Uint16Array(count);
  for (let i = 0; i < count; i++) numbers[i] = bytes[start + i] | (bytes[start + count + i] << 8);
  return numbers;
}

// The atoms of a model: the residue and the index among `facts.atoms` of each, and x, y and z in Å.
async function readAtoms(index) {
  const {patterns, step} = facts.models[index];
  const bytes = await unpacked(`atoms-${index}`);
  const kinds = fromPlanes(bytes, 0, facts.sequence.length);
  const residues = [], names = [];
  kinds.forEach((kind, residue) => patterns[kind].forEach((name) => { residues.push(residue); names.push(name); }));
  const count = residues.length;
  const axes = [0, 1, 2].map((axis) => {
    const zigzag = fromPlanes(bytes, 2 * kinds.length + 2 * axis * count, count);
    const places = new Float32Array(count);
    let unit = 0;
    for (let i = 0; i < count; i++) {
      unit = (unit + ((zigzag[i] >> 1) ^ -(zigzag[i] & 1))) << 16 >> 16;  // 16 bits, which go round
      places[i] = unit * step;
    }
    return places;
  });
  return {residues, names, axes};
}

// The aligned errors of a model: bytes by row (the aligned residue) and column (the scored one); null where it has none.
async function readErrors(index) {
  const found = facts.models[index].pae;
  if (!found) return null;
  const units = await unpacked(`pae-${index}`);
  for (let i = found.side; i < units.length; i++) units[i] += units[i - found.side];  // of 8 bits, which go round
  const at = (aligned, scored) =>
    units[Math.floor(aligned / found.block) * found.side + Math.floor(scored / found.block)] * facts.pae_step;
  return {...found, units, at};
}

// ---------------------------------------------------------------------------------------------- names

const numResidues = facts.sequence.length;
const firstOfChain = [];  // residue where each chain begins
const chainOf = new Uint16Array(numResidues);
facts.chains.reduce((start, chain, index) => {
  firstOfChain.push(start);
  chainOf.fill(index, start, start + chain.length);
  return start + chain.length;
}, 0);
const hasChains = facts.chains.length > 1;

// 'Leu 45', of several chains 'Leu 45 of B'.
function residueName(residue) {
  const name = `${facts.residues[facts.sequence[residue]]} ${facts.numbers[residue]}`;
  return hasChains ? `${name} of ${facts.chains[chainOf[residue]].name}` : name;
}

// '45–60', of several chains 'B 45–60', or 'A 120 – B 20' where it goes from one to another.
function rangeName([first, last]) {
  const [from, to] = [facts.numbers[first], facts.numbers[last]];
  if (!hasChains) return from === to ? `${from}` : `${from}–${to}`;
  const [one, other] = [first, last].map((residue) => facts.chains[chainOf[residue]].name);
  return chainOf[first] === chainOf[last] ? `${one} ${from}–${to}` : `${one} ${from} – ${other} ${to}`;
}

const isWithin = (residue, range) => range[0] <= residue && residue <= range[1];
const bandOf = (plddt) => facts.bands.find((band) => plddt >= band.from) ?? facts.bands.at(-1);
