(value) => {
  // Plays the frames of the plot in #ID; called with the value of a gr.Plot (a figure of figures.walk_figure) once it changed.
  // In real time whatever the machine: frames are left out where it is slow. Dragging the walk stops it for as long as it lasts.
  // Resolves once the walk is on the screen (or after 20 s, whatever went wrong): Gradio then does the rest. Never without a walk.
  const host = document.getElementById("#ID");
  if (!value || !host) return new Promise(() => {});
  const figure = JSON.parse(value.plot);
  const { id, fps, speeds, traces } = figure.layout.meta;
  const frames = figure.layout.meta.frames.map((data, t) => ({ name: String(t), data, traces }));
  host.dataset.walk = id;
  const state = { frame: 0, playing: true, held: false, speed: 1, since: null };

  const show = async (plot, frame) => {
    state.frame = frame;
    const now = { mode: "immediate", transition: { duration: 0 }, frame: { duration: 0, redraw: true } };
    await window.Plotly.animate(plot, [String(frame)], now);
    host.dataset.frame = frame; // it is on the screen now
  };

  const loop = async (plot) => {
    if (host.dataset.walk !== id || !plot.isConnected) return;
    if (state.playing && !state.held && host.offsetParent) {
      const time = performance.now() / 1000;
      state.since ??= time - state.frame / fps / state.speed;
      const frame = Math.floor((time - state.since) * fps * state.speed) % frames.length;
      if (frame !== state.frame) await show(plot, frame).catch(() => {}); // interrupted by the next one
    } else state.since = null;
    requestAnimationFrame(() => loop(plot));
  };

  const wait = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

  const begin = async () => {
    let plot;
    while (!window.Plotly || plot?.layout?.meta?.id !== id) {
      await wait(50);
      if (host.dataset.walk !== id) return; // a newer walk came
      plot = host.querySelector(".js-plotly-plot");
    }
    const old = (plot._transitionData?._frames || []).map((_, i) => i);
    if (old.length) await window.Plotly.deleteFrames(plot, old);
    await window.Plotly.addFrames(plot, frames);
    for (const name of ["plotly_buttonclicked", "plotly_sliderchange"]) plot.removeAllListeners(name);
    plot.on("plotly_buttonclicked", (event) => {
      const speed = speeds[event.active];
      if (event.menu._index === 0) state.playing = event.active === 0;
      else state.speed = speed;
      state.since = null;
    });
    plot.on("plotly_sliderchange", (event) => {
      if (!event.interaction) return; // moved by the player
      state.playing = false;
      host.dataset.frame = state.frame = Number(event.step.args[0][0]); // plotly shows it
    });
    plot.onpointerdown = (event) => (state.held = event.target.closest(".gl-container") !== null);
    window.addEventListener("pointerup", () => (state.held = false));
    host.dataset.ready = id;
    await show(plot, 0).catch(() => {});
    loop(plot);
  };
  return Promise.race([begin(), wait(20000)]);
}
