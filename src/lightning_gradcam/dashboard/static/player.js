// Plays epochs, all of them or those of the range that is brushed, which it repeats.

import {isOpen} from './address.js';

export class Player {
  /** `app` has {isEmpty, series, position, bounds, state, goTo(place)}; `changed(isOn)` is told when it starts and stops. */
  constructor(app, changed) { Object.assign(this, {app, changed, isOn: false}); }

  set(on) {
    this.isOn = on;
    this.changed(on);
  }

  toggle() {
    const {app} = this;
    if (app.isEmpty || app.series.looks.length < 2) return;
    const {first, last} = app.bounds;
    if (!this.isOn && (app.position >= last || app.position < first)) app.goTo(first);
    this.set(!this.isOn);
    this.at = performance.now();
    if (this.isOn) requestAnimationFrame((now) => this.step(now));
  }

  step(now) {
    const {app} = this;
    if (!this.isOn) return;
    if (app.isEmpty || !isOpen()) { this.set(false); return; }
    const due = Math.floor((now - this.at) / 1000 * app.state.speed), {first, last, repeats} = app.bounds;
    if (due > 0) {
      this.at += due * 1000 / app.state.speed;
      const next = app.position + due;
      if (next > last && repeats) app.goTo(first);
      else app.goTo(Math.min(last, next));
      if (app.position >= last && !repeats) this.set(false);
    }
    requestAnimationFrame((again) => this.step(again));
  }
}
