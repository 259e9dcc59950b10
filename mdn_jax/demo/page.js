// What a person does goes to the server as `wire.action`; what is to be seen comes back as `wire.state`.
"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const controls = [...document.querySelectorAll("[data-control]")];
  const cards = [...document.querySelectorAll("[data-graph]")];
  let wire, state = {}, count = 0, held = false, last = null;

  // a space at the end tells an action from the same one before it
  const ask = (what, more = {}) => { if (wire) wire.action = JSON.stringify({ do: what, ...more }) + " ".repeat(++count % 2); };

  // what stands already is left alone: every change of the page costs a new layout
  const put = (one, name, value) => { if (one[name] !== value) one[name] = value; };
  const tell = (id, text) => put($(id), "textContent", text);

  const show = () => {
    const old = state;
    state = JSON.parse(wire.state);
    if (state.dark !== old.dark) document.documentElement.classList.toggle("dark", state.dark);
    tell("play", state.playing ? "Pause" : "Play");
    put($("play"), "ariaPressed", String(state.playing));
    tell("status", [`step ${state.step.toLocaleString("en")}`, state.rate ? `${state.rate.toLocaleString("en")} steps/s` : "", state.busy].filter(Boolean).join(" · "));
    put($("message").firstChild, "textContent", state.message);
    put($("again"), "hidden", !state.diverged);
    if (state.bad !== old.bad) $("message").classList.toggle("bad", state.bad);
    tell("notice", state.notice);
    tell("pointer", state.at);
    tell("above", state.above);
    tell("component", state.component < 0 ? "" : `component ${state.component + 1}'s share`);
    put($("drawing"), "hidden", state.graph !== "own");
    put($("points"), "hidden", state.graph === "own");
    const exact = state.oracle === null ? "" : ` · exact density ${state.oracle.toFixed(3)} · gap ${(state.loss?.[2] - state.oracle).toFixed(3)}`;
    tell("loss", state.loss ? `fresh points ${state.loss[2].toFixed(3)} nats · training points ${state.loss[1].toFixed(3)}${exact}` : "");
    for (const control of controls) {
      const value = String(state.values[control.dataset.control]);
      if (control !== document.activeElement || old.graph !== state.graph || state.bad) put(control, "value", value);
      if (control.value !== value && control.tagName === "SELECT") control.add(new Option(value, value, true, true)); // a config's own
      put(control, "disabled", state.idle.includes(control.dataset.control));
    }
    for (const card of cards) put(card, "ariaCurrent", String(card.dataset.graph === state.graph));
    if (state.dark !== old.dark) { showCards(); paint(); }
    if (state.address !== old.address || state.dark !== old.dark) history.replaceState(null, "", `?${state.address}${state.dark ? "&theme=dark" : ""}`);
    if (state.copied[0] > (old.copied?.[0] ?? 0)) copy(state.copied[1], state.graph === "own" ? "This config is copied; Save run writes it beside the points themselves" : "This config is copied: save it as demo.toml, then mdn-jax run demo.toml");
    const frame = state.frame;
    // said before it is painted: the next one comes as this one is done
    if (frame !== (old.frame ?? 0)) {
      wire.seen = frame;
      requestAnimationFrame(() => setTimeout(() => { if (state.frame === frame) window.mdn.frames += 1; }));
    }
  };

  // one vector of numbers for all figures: each column is a part of it
  let shown = { columns: 1, heat: [], samples: [], x: [], y: [], size: [], kind: [], colours: [] };
  const draw = () => {
    const page = Bokeh.documents[0], message = wire.picture, { numbers, told } = message instanceof Map ? Object.fromEntries(message) : message;
    const { layout, changes, state: next } = JSON.parse(told), tables = {};
    const part = ([start, end]) => new Float32Array(numbers.buffer, numbers.byteOffset + 4 * start, end - start);
    for (const [name, column, kind, place] of layout)
      (tables[name] ??= {})[column] = kind === "one" ? part(place) : kind === "many" ? place.map(part) : place;
    const { "picture rows": fresh, ...others } = tables;
    for (const [name, data] of Object.entries(others)) page.get_model_by_name(name).setv({ data }, { sync: false, check_eq: false });
    for (const [name, values] of Object.entries(changes)) page.get_model_by_name(name).setv(values, { sync: false });
    if (fresh) paint(fresh);
    wire.setv({ state: next }, { sync: false });
  };

  // 256 colours from none to dense, by whether the page is dark
  const shades = [[[255, 255, 255], [0, 114, 178], [5, 35, 70]], [[20, 24, 29], [0, 114, 178], [210, 236, 255]]].map((ends) =>
    Uint32Array.from({ length: 256 }, (_, n) => {
      const half = Number(n > 127), [from, to] = ends.slice(half), share = n / 127.5 - half;
      return [0, 1, 2].reduce((colour, one) => colour | Math.round(from[one] + share * (to[one] - from[one])) << 8 * one, 255 << 24);
    }));
  const small = document.createElement("canvas"), pens = {};

  const viewOf = (name) => Bokeh.index.find_one(Bokeh.documents[0].get_model_by_name(name));
  const boxOf = (name) => viewOf(name)?.frame_view?.bbox;

  // a canvas over or under the frame of a figure
  const penOf = (name, lay) => {
    const view = viewOf(name), box = boxOf(name), dense = devicePixelRatio;
    if (!box?.width) return null;
    const one = (pens[name] ??= document.createElement("canvas").getContext("2d"));
    if (!one.canvas.isConnected) view.shadow_el[lay](one.canvas);
    const wanted = `position:absolute;pointer-events:none;left:${box.left}px;top:${box.top}px;width:${box.width}px;height:${box.height}px`;
    if (one.place !== wanted + dense) {
      one.canvas.style.cssText = wanted;
      Object.assign(one.canvas, { width: box.width * dense, height: box.height * dense });
      Object.assign(one, { place: wanted + dense, imageSmoothingEnabled: false });
      one.scale(dense, dense);
    }
    one.clearRect(0, 0, box.width, box.height);
    return [one, box.width, box.height];
  };

  const paint = (fresh = shown) => {
    const { columns, heat, samples, x, y, size, kind, colours } = (shown = fresh), [on, under] = [penOf("samples", "append"), penOf("density", "prepend")];
    if (!on || !under) return;
    const [dots, width, height] = on, [pen, wide, high] = under, each = samples.length / columns;
    dots.fillStyle = "rgba(213, 94, 0, 0.6)";
    samples.forEach((at, n) => dots.fillRect(width * (Math.floor(n / each) + 0.5) / columns - 1.5, height * (1 - at) - 1.5, 3, 3));
    if (heat.length) {
      const lines = heat.length / columns, image = new ImageData(columns, lines), cells = new Uint32Array(image.data.buffer), colours = shades[Number(state.dark)];
      heat.forEach((shade, n) => { cells[(lines - 1 - Math.floor(n / columns)) * columns + n % columns] = colours[shade]; });
      Object.assign(small, { width: columns, height: lines }).getContext("2d").putImageData(image, 0, 0);
      pen.drawImage(small, 0, 0, wide, high);
    }
    kind.forEach((one, n) => {
      pen.fillStyle = colours[one];
      pen.beginPath();
      pen.arc(wide * x[n], high * (1 - y[n]), size[n] / 2, 0, 7);
      pen.fill();
    });
  };

  const showCards = () => {
    const style = getComputedStyle(document.documentElement);
    for (const [name, card] of Object.entries(JSON.parse(wire.cards))) {
      const canvas = cards.find((one) => one.dataset.graph === name).querySelector("canvas"), pen = canvas.getContext("2d");
      pen.clearRect(0, 0, canvas.width, canvas.height);
      for (const [points, colour] of [[card.points, style.getPropertyValue("--soft")], [card.samples ?? [], "#d55e00"]]) {
        pen.fillStyle = colour;
        for (const [x, y] of points) pen.fillRect((canvas.width * x) / 1000 - 2, canvas.height * (1 - y / 1000) - 2, 4, 4);
      }
    }
  };

  const copy = (text, said) => {
    navigator.clipboard?.writeText(text).catch(() => {});
    $("copied").textContent = said;
    $("text").querySelector("textarea").value = text;
    $("text").showModal();
  };

  // pointing is answered once a frame
  let pointed = null;
  const later = (place, x, y) => {
    if (!pointed) requestAnimationFrame(() => { ask("point", pointed); pointed = null; });
    pointed = { place, x, y };
    if (held && place === "samples") window.mdn.brush(x, y);
  };
  // Bokeh's own gesture of drawing is lost where the mouse rests before it moves
  document.addEventListener("pointerdown", (event) => { held = event.button === 0; last = null; }, true);
  for (const end of ["pointerup", "pointercancel"]) document.addEventListener(end, () => { held = false; }, true);

  window.mdn = {
    frames: 0,
    shown: () => shown,
    point: later,
    leave: () => ask("leave"),
    brush: (x, y) => {
      if (state.graph !== "own") return;
      const erase = document.querySelector("[name=brush]:checked").value === "erase";
      if (erase) ask("erase", { x, y });
      else if (!last || Math.hypot(x - last[0], y - last[1]) > 0.012) ask("draw", { points: [(last = [x, y])] });
    },
  };

  for (const id of ["play", "step", "reset", "clear", "config", "save"]) $(id).onclick = () => ask(id);
  $("again").onclick = () => ask("reset");
  $("theme").onclick = () => ask("theme", { dark: !state.dark });
  $("link").onclick = () => copy(location.href, "This address is copied: it opens the page as it is now");
  for (const card of cards) card.onclick = () => ask("graph", { name: card.dataset.graph });
  for (const control of controls) control.onchange = () => ask("set", { name: control.dataset.control, value: control.value });
  // numbers of any size go up and down by a quarter of a decade
  for (const control of document.querySelectorAll("[data-scale]")) control.onkeydown = (event) => {
    const way = { ArrowUp: 1, ArrowDown: -1 }[event.key], value = Number(control.value);
    if (!way) return;
    event.preventDefault();
    const next = value > 0 ? Number((value * 10 ** (way / 4)).toPrecision(2)) : way > 0 ? 0.001 : 0;
    ask("set", { name: control.dataset.control, value: next < 1e-4 && Number(control.min) === 0 ? 0 : next });
    control.value = next;
  };
  const keys = {
    " ": () => ask("play"), s: () => ask("step"), r: () => ask("reset"), c: () => ask("cycle"),
    ArrowLeft: () => ask("move", { right: -0.02, up: 0 }), ArrowRight: () => ask("move", { right: 0.02, up: 0 }),
    ArrowUp: () => ask("move", { right: 0, up: 0.02 }), ArrowDown: () => ask("move", { right: 0, up: -0.02 }),
    Enter: () => ask("mark"),
  };
  document.addEventListener("keydown", (event) => {
    const busy = ["INPUT", "SELECT", "TEXTAREA"].includes(event.target.tagName) || (event.target.tagName === "BUTTON" && [" ", "Enter"].includes(event.key));
    if (busy || event.ctrlKey || event.metaKey || event.altKey || !keys[event.key] || $("text").open) return;
    event.preventDefault();
    keys[event.key]();
  });

  // what the mouse pressed leaves the space bar to Play
  document.addEventListener("click", (event) => { if (event.detail) event.target.closest("button")?.blur(); });

  const meet = () => {
    wire = window.Bokeh?.documents[0]?.get_model_by_name("wire");
    if (!wire || !boxOf("density")?.width) return setTimeout(meet, 20);
    wire.properties.picture.change.connect(draw);
    wire.properties.state.change.connect(show);
    wire.properties.cards.change.connect(showCards);
    new ResizeObserver(() => setTimeout(paint)).observe(document.querySelector("main"));
    show();
    const first = wire.state, { frame } = state;
    // a picture from before the page was here; what was told after it has its number
    if (wire.picture) draw();
    if (frame >= state.frame) wire.setv({ state: first }, { sync: false });
    if (!new URLSearchParams(location.search).has("theme") && matchMedia("(prefers-color-scheme: dark)").matches) ask("theme", { dark: true });
    return undefined;
  };
  meet();
})();
