// The page: what is chosen, and who is told when that changes.
'use strict';

class Page {
  constructor() {
    this.state = {model: 0, shape: 'cartoon', colours: 'confidence', residue: null, block: null};
    this.structure = new Structure(this);
    this.pae = new PaeMap(this);
    this.plddt = new PlddtChart(this);
  }

  async open() {
    for (const name of ['shape', 'colours', 'model']) {
      for (const choice of document.querySelectorAll(`input[name="${name}"]`)) {
        choice.checked = choice.defaultChecked;  // browsers remember what was chosen before
        choice.addEventListener('change', () => this.change({[name]: name === 'model' ? Number(choice.value) : choice.value}));
      }
    }
    window.matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.redraw());
    window.addEventListener('beforeprint', () => this.print(true));
    window.addEventListener('afterprint', () => this.print(false));
    if (facts.alignment) {
      this.coverage = new Coverage();
      await this.coverage.open();
    }
    await this.structure.open();
    await this.showModel();
    document.documentElement.dataset.ready = 'yes';
  }

  // Takes what is new, and has those draw who show it.
  change(chosen) {
    const changed = new Set(Object.keys(chosen).filter((name) => this.state[name] !== chosen[name]));
    Object.assign(this.state, chosen);
    if (changed.has('model')) this.showModel();
    if (changed.has('shape') || changed.has('colours') || changed.has('block')) this.structure.paint();
    if (changed.has('colours') || changed.has('block')) this.showLegend();
    if (changed.has('block')) {
      this.pae.mark();
      this.pae.tell();
    }
    if (changed.has('residue')) this.structure.mark();
    if (changed.has('residue') || changed.has('block')) this.plddt.mark();
    if (changed.has('residue')) this.tell();
  }

  async showModel() {
    const {model} = this.state;
    const [atoms, errors] = await Promise.all([readAtoms(model), readErrors(model)]);
    if (this.state.model !== model) return;  // another was chosen meanwhile
    this.structure.show(atoms);
    this.pae.show(errors);
    this.plddt.refresh();
    showInterfaces(model);
    this.showLegend();
    this.tell();
    document.documentElement.dataset.model = model;
  }

  // Says what is known of the residue that is pointed at.
  tell() {
    const {model, residue} = this.state;
    if (residue === null) {
      find('plddt-said').textContent = `${facts.models[model].title}: mean ${facts.models[model].mean_plddt.toFixed(1)}`;
      find('structure-said').textContent = facts.models[model].title;
      return;
    }
    const plddt = facts.models[model].plddt[residue];
    const said = `${residueName(residue)}: pLDDT ${plddt.toFixed(1)} (${bandOf(plddt).name})`;
    find('plddt-said').textContent = said;
    find('structure-said').textContent = said;
  }

  showLegend() {
    const {block, colours} = this.state, legend = find('chain-legend');
    const chains = facts.chains.map(({name}, i) => [colourOfChain(i), name]);
    const ranges = block && [
      [themed('scored'), `scored ${rangeName(block.scored)}`],
      [themed('aligned'), `aligned ${rangeName(block.aligned)}`],
      [BOTH, 'both'],
    ];
    legend.replaceChildren(...(ranges ?? chains).map(([colour, name]) => {
      const swatch = element('span', {class: 'swatch'});
      swatch.style.background = colour;
      return element('li', {}, swatch, name);
    }));
    legend.hidden = !block && colours !== 'chain';
    find('band-legend').hidden = !legend.hidden;
  }

  focus(residue) {
    this.change({residue});
    this.structure.focus(residue);
  }

  redraw() {
    this.structure.paint();
    this.showLegend();
    for (const sheet of [this.pae, this.plddt, this.coverage]) sheet?.refresh();
  }

  print(begins) {
    document.documentElement.classList.toggle('printing', begins);
    this.redraw();
    if (begins) this.structure.asPicture();
  }
}

new Page().open().catch((error) => {
  const trouble = find('trouble');
  trouble.textContent = typeof DecompressionStream === 'undefined'
    ? 'This browser is too old for the pictures (it has no DecompressionStream): Chromium 105, Firefox 121, Safari 16.4 or later.'
    : `The page could not be shown: ${error.message}`;
  trouble.hidden = false;
});
