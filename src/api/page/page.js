// Keeps the open page current: ages tick, what changed comes by WebSocket, and the theme is remembered. The page works without.
(() => {
  const words = (ms) => {
    const s = Math.max(0, Math.round(ms / 1000));
    if (s < 100) return `${s} s`;
    if (s < 6000) return `${Math.round(s / 60)} min`;
    return s < 172800 ? `${Math.round(s / 3600)} h` : `${Math.round(s / 86400)} d`;
  };
  const root = document.documentElement;
  const remembered = () => {
    try {
      return localStorage.theme;
    } catch {
      return undefined; // storage is switched off
    }
  };
  if (!root.dataset.theme && remembered()) root.dataset.theme = remembered();
  for (const link of document.querySelectorAll('[data-set-theme]')) {
    link.addEventListener('click', (event) => {
      event.preventDefault();
      root.dataset.theme = link.dataset.setTheme;
      try {
        localStorage.theme = link.dataset.setTheme;
      } catch {
        // it holds until the page is left
      }
    });
  }
  /** What the page shows, by its last word from the box. */
  let { at, now } = document.body.dataset;
  if (!at) return;

  /** How much the box's clock is ahead of this one. */
  let ahead = now - Date.now();
  const tick = () => {
    for (const time of document.querySelectorAll('time[data-t]')) {
      const said = words(Date.now() + ahead - Number(time.dataset.t));
      if (time.textContent !== said) time.textContent = said;
    }
  };
  const chart = (heights, width) =>
    [...heights].map((y, x) => `${x ? 'L' : 'M'}${width - heights.length + x} ${Number.parseInt(y, 36)}`).join('') ||
    'M0 0';
  const put = (node, value) => {
    const { a, c, t } = node.dataset;
    if (a) node.setAttribute(a, value);
    else if (c) node.setAttribute('d', chart(value, c));
    else if (t) node.dataset.t = value.slice(1);
    else node.textContent = value;
  };
  const element = (text) => new DOMParser().parseFromString(text, 'text/html').body.firstElementChild;
  /** A new one like an old one: by its words without numbers. */
  const like = (one) => `${one.closest('[id]')?.id} ${one.tagName} ${one.textContent.replace(/\d+/g, '')}`;
  /** A part of the page was made anew: what is open, chosen and under the finger stays so. */
  const replace = (id, text) => {
    const old = document.getElementById(id);
    const fresh = element(text);
    if (!old || !fresh) return;
    const open = new Set([...old.querySelectorAll('details[open] > summary')].map(like));
    for (const summary of fresh.querySelectorAll('summary')) summary.parentElement.open = open.has(like(summary));
    for (const input of fresh.querySelectorAll('input[id]')) input.checked = document.getElementById(input.id)?.checked;
    const held = old.contains(document.activeElement) && like(document.activeElement);
    old.replaceWith(document.adoptNode(fresh));
    if (held)
      [...fresh.querySelectorAll('a, summary, button')]
        .find((one) => like(one) === held)
        ?.focus({ preventScroll: true });
  };
  const grow = (list, items) => {
    for (const item of items) list.prepend(document.adoptNode(element(item)));
    while (list.children.length > list.dataset.most) list.lastElementChild.remove();
  };
  const show = (text) => {
    const place = document.getElementById('live');
    if (place && place.textContent !== text) place.textContent = text;
  };
  const take = (said) => {
    at = said.at;
    if (said.now) ahead = said.now - Date.now();
    for (const [id, text] of Object.entries(said.parts ?? {})) replace(id, text);
    for (const node of document.querySelectorAll('[data-k]')) {
      const { k } = node.dataset;
      if (said.cells?.[k] !== undefined) put(node, said.cells[k]);
      if (said.add?.[k]) grow(node, said.add[k]);
    }
    tick();
    show('live');
  };

  let socket;
  let waitMs = 1000;
  let timer;
  const unpacks = 'DecompressionStream' in window;
  const read = (data) =>
    typeof data === 'string' ? data : new Response(data.stream().pipeThrough(new DecompressionStream('gzip'))).text();
  const open = () => {
    clearTimeout(timer);
    if (document.hidden || socket) return;
    const place = `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/api/page`;
    socket = new WebSocket(`${place}?at=${at}${unpacks ? '&gzip=1' : ''}`);
    socket.onopen = () => {
      waitMs = 1000;
      show('live');
    };
    // One after the other: unpacking takes its time.
    let before = Promise.resolve();
    socket.onmessage = ({ data }) => {
      before = before
        .then(async () => take(JSON.parse(await read(data))))
        .catch(() => show('not live: reload the page'));
    };
    socket.onclose = () => {
      socket = undefined;
      if (document.hidden) return;
      show('not live: the box does not answer');
      timer = setTimeout(open, waitMs);
      waitMs = Math.min(30000, waitMs * 2);
    };
  };
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) socket?.close();
    else open();
  });
  setInterval(tick, 1000);
  open();
})();
