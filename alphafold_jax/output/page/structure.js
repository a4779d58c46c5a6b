// The structure, drawn by 3Dmol.js. Everything else on the page works where it cannot be shown.
'use strict';

const CHAIN_COLOURS = ['#3b76b8', '#e08a1e', '#3f9b57', '#c94f4f', '#8a63b8', '#8c6248', '#d478b4', '#7a7f87', '#a9a52c', '#2fa7b3'];
const FOLDS = {H: 'h', E: 's', '-': 'c'};
const PALE = '#c3c8cf', BOTH = '#12a5a5';
const NEAR = 14, REACH = 3;  // pixels, or Å where that is more, from the pointer to a residue
const BEHIND = 6;  // Å that a residue may lie behind another that is less near
const CAMERA = 150, VIEW_ANGLE = Math.PI / 9;  // of the library: how far its eye is, in Å, and how wide it sees
const KEYS = {
  ArrowLeft: (viewer) => viewer.rotate(-12, 'y'),
  ArrowRight: (viewer) => viewer.rotate(12, 'y'),
  ArrowUp: (viewer) => viewer.rotate(-12, 'x'),
  ArrowDown: (viewer) => viewer.rotate(12, 'x'),
  '+': (viewer) => viewer.zoom(1.2),
  '=': (viewer) => viewer.zoom(1.2),
  '-': (viewer) => viewer.zoom(1 / 1.2),
  0: (viewer) => showAll(viewer),
};

// Shows the whole structure, which the library fits to the height, also where there is less width.
function showAll(viewer) {
  const {clientWidth, clientHeight} = viewer.container;
  viewer.zoomTo();
  if (clientWidth < clientHeight) viewer.zoom(clientWidth / clientHeight);
}

// The colours in their order, then lighter, then darker.
function colourOfChain(chain) {
  const round = Math.floor(chain / CHAIN_COLOURS.length) % 3, towards = round === 1 ? 255 : 0;
  const mixed = CHAIN_COLOURS[chain % CHAIN_COLOURS.length].match(/[0-9a-f]{2}/g).map((pair) => {
    const channel = parseInt(pair, 16);
    return Math.round(channel + (round ? 0.4 : 0) * (towards - channel)).toString(16).padStart(2, '0');
  });
  return `#${mixed.join('')}`;
}

// The library, which is in the page or in a file beside it; an error says what is missing.
async function loadLibrary() {
  const script = element('script');
  if (facts.viewer === null) {
    script.textContent = new TextDecoder().decode(await unpacked('viewer', 'gzip'));
    document.head.append(script);
  } else {
    await new Promise((resolve, reject) => {
      script.onload = resolve;
      script.onerror = () => reject(new Error(`The structure is not shown: the file ${facts.viewer} is not beside this page.`));
      script.src = facts.viewer;
      document.head.append(script);
    });
  }
  if (!window.$3Dmol) throw new Error('The structure is not shown: this browser does not run the viewer.');
}

function hasWebGL() {
  const canvas = document.createElement('canvas');
  return Boolean(canvas.getContext('webgl2') ?? canvas.getContext('webgl'));
}

class Structure {
  constructor(page) {
    this.page = page;
    this.place = find('structure');
    this.viewer = null;
    this.marked = null;
    this.surface = null;
  }

  // Makes ready; where that cannot be, a message is in the structure's place and `viewer` stays null.
  async open() {
    try {
      if (!hasWebGL()) throw new Error('The structure is not shown: this browser has no WebGL. All else is below.');
      await loadLibrary();
      this.viewer = $3Dmol.createViewer(this.place, {backgroundAlpha: 0, cartoonQuality: numResidues > 1500 ? 5 : 10});
    } catch (error) {
      this.place.replaceChildren(element('p', {class: 'instead'}, `${error.message ?? error}`));
      for (const control of document.querySelectorAll('#structure-controls :is(input, button)')) control.disabled = true;
      return;
    }
    this.place.querySelector('canvas').setAttribute('aria-label', 'The structure');
    this.place.addEventListener('pointermove', (event) => this.hover(event));
    this.place.addEventListener('pointerleave', () => this.page.change({residue: null}));
    this.place.addEventListener('keydown', (event) => this.typed(event));
    find('whole').addEventListener('click', () => showAll(this.viewer));
    find('picture').addEventListener('click', () => this.save());
  }

  // Puts another model in the place of the one that is shown; the view stays as it is.
  show({residues, names, axes}) {
    if (!this.viewer) return;
    const model = facts.models[this.page.state.model], isFirst = !this.alphas, alphas = [];
    const atoms = residues.map((residue, i) => {
      const name = facts.atoms[names[i]];
      const atom = {
        atom: name, elem: name[0], resn: facts.residues[facts.sequence[residue]].toUpperCase(), hetflag: false,
        chain: `${chainOf[residue]}`, resi: facts.numbers[residue], serial: i + 1, bonds: [],
        x: axes[0][i], y: axes[1][i], z: axes[2][i],
        ss: FOLDS[model.folds[residue]], properties: {residue},
      };
      if (name === 'CA') alphas.push({residue, x: atom.x, y: atom.y, z: atom.z});
      return atom;
    });
    this.alphas = alphas;
    this.forgetSurface();
    this.viewer.removeAllModels();
    this.viewer.addModel().addAtoms(atoms);
    this.paint();
    if (isFirst) showAll(this.viewer);
  }

  colourOf(residue) {
    const {block, colours, model} = this.page.state;
    if (block) {
      const [scored, aligned] = [block.scored, block.aligned].map((range) => isWithin(residue, range));
      return scored && aligned ? BOTH : scored ? themed('scored') : aligned ? themed('aligned') : PALE;
    }
    return colours === 'chain' ? colourOfChain(chainOf[residue]) : bandOf(facts.models[model].plddt[residue]).colour;
  }

  // Draws the model in the chosen shape and colours.
  paint() {
    if (!this.viewer || !this.alphas) return;
    const colours = Array.from({length: numResidues}, (_, residue) => this.colourOf(residue));
    const colorfunc = (atom) => colours[atom.properties.residue];
    const isSurface = this.page.state.shape === 'surface';
    this.viewer.setBackgroundColor(themed('panel'), 0);  // what is far away fades into it
    this.viewer.getRenderer().setClearColorHex(0, 0);  // nothing behind it: Firefox would add a colour to the page's
    this.viewer.setStyle({}, isSurface ? {} : {cartoon: {colorfunc, arrows: true}});
    if (!isSurface) this.forgetSurface();
    else if (this.surface === null) this.makeSurface(colorfunc);
    else this.viewer.setSurfaceMaterialStyle(this.surface, {colorfunc, opacity: 1});
    this.mark();
  }

  makeSurface(colorfunc) {
    const said = find('structure-said');
    said.textContent = 'The surface is being computed …';
    const made = this.viewer.addSurface($3Dmol.SurfaceType.VDW, {colorfunc, opacity: 1});
    this.surface = made.surfid;
    made.then(
      () => { this.page.tell(); if (this.surface === made.surfid) this.paint(); },
      () => { said.textContent = 'The surface could not be computed.'; },
    );
  }

  forgetSurface() {
    if (this.surface !== null) this.viewer.removeAllSurfaces();
    this.surface = null;
  }

  // Marks the residue that is pointed at, here or in another picture.
  mark() {
    if (!this.viewer) return;
    if (this.marked) this.viewer.removeShape(this.marked);
    const alpha = this.alphaOf(this.page.state.residue);
    this.marked = alpha && this.viewer.addSphere({center: alpha, radius: 1.2, color: themed('text')});
    this.viewer.render();
  }

  alphaOf(residue) {
    return residue === null ? null : this.alphas.find((alpha) => alpha.residue === residue) ?? null;
  }

  focus(residue) {
    const alpha = this.viewer && this.alphaOf(residue);
    if (!alpha) return;
    const number = facts.numbers[residue];
    this.viewer.zoomTo({chain: `${chainOf[residue]}`, resi: [number - 4, number, number + 4]}, 400);
  }

  hover(event) {
    if (event.buttons || this.waits || !this.alphas) return;
    this.waits = true;
    requestAnimationFrame(() => {
      this.waits = false;
      this.page.change({residue: this.residueAt(event)});
    });
  }

  // The residue at the pointer. By where CA atoms are on the screen: a tenth of the time that the library's own search
  // through all triangles takes, and of surfaces as well.
  residueAt(event) {
    const [, , , away, x, y, z, w] = this.viewer.getView();
    const near = Math.max(NEAR, REACH * this.place.clientHeight / (2 * Math.tan(VIEW_ANGLE / 2) * (CAMERA - away)));
    const towardsEye = [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)];  // in the structure's own axes
    const found = [];
    this.viewer.modelToScreen(this.alphas).forEach((place, i) => {
      const distance = Math.hypot(place.x - event.pageX, place.y - event.pageY) / near;
      const {residue, ...alpha} = this.alphas[i];
      const depth = towardsEye[0] * alpha.x + towardsEye[1] * alpha.y + towardsEye[2] * alpha.z;
      if (distance < 1) found.push({residue, rank: distance * BEHIND - depth});
    });
    return found.length ? found.reduce((best, one) => (one.rank < best.rank ? one : best)).residue : null;
  }

  typed(event) {
    const turn = KEYS[event.key];
    if (!turn || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    turn(this.viewer);
    this.viewer.render();
  }

  save() {
    const name = `${facts.job}_${facts.models[this.page.state.model].tag}.png`;
    element('a', {href: this.viewer.pngURI(), download: name}).click();
  }

  // Before printing: a picture in the place of what the graphics card shows.
  asPicture() {
    if (this.viewer) find('structure-printed').src = this.viewer.pngURI();
  }
}
