"""Experts for pages where one looks at a drawing, aims at what moves, or plays against the page."""

__all__ = ["DRAWING"]

_BEST_PIXEL = r"""
  const centre = what => all(what).map(e => { const b = e.getBBox(); return [b.x + b.width / 2, b.y + b.height / 2]; });
  const bend = ([ax, ay], [bx, by], [cx, cy]) => {  // the angle at c, in degrees
    const turn = Math.abs(Math.atan2(ay - cy, ax - cx) - Math.atan2(by - cy, bx - cx)) * 180 / Math.PI;
    return Math.min(turn, 360 - turn);
  };
  const place = error => {  // clicks the pixel of the drawing with the least error, then submits
    if (one('#blue-circle')) return submit();
    const svg = box(one('svg')), TOP = 50;  // the pages take away this much, and nothing from x
    let best = null, least = Infinity;
    for (let x = Math.ceil(svg.x) + 1; x < svg.right - 1; x++) for (let y = Math.ceil(svg.y) + 1; y < svg.bottom - 1; y++) {
      const wrong = error([x, y - TOP]);
      if (wrong < least) [least, best] = [wrong, {x, y}];
    }
    return call('click_at', best);
  };
  const far = ([ax, ay], [bx, by]) => Math.hypot(ax - bx, ay - by);"""
_COLOUR = r"""
  const field = one('#col');
  return field.value.toUpperCase() === hex ? submit() : call('type', {text: hex, mark: mark(field)});"""

DRAWING = {
    "bisect-angle": _BEST_PIXEL
    + r"""
  const [[a, b], [c]] = [centre('.init-black'), centre('.init-blue')];
  return place(p => far(p, c) < 20 ? 999 : Math.max(bend(a, p, c), bend(b, p, c)));""",
    "chase-circle": "const [x, y] = middle(one('#circ')); return call('hover_at', {x, y});",
    "circle-center": _BEST_PIXEL + "const [c] = centre('.black-circle'); return place(p => far(p, c));",
    "count-sides": r"""
  const {data} = one('#c').getContext('2d').getImageData(0, 0, 150, 100), turns = [...Array(360).keys()];
  const inked = (r, angle) => data[4 * (150 * Math.round(50 + r * Math.sin(angle)) + Math.round(75 + r * Math.cos(angle))) + 3];
  const reach = turns.map(i => { let r = 45; while (r && !inked(r, i * Math.PI / 180)) r -= 0.25; return r; });
  const part = (n, f) => turns.reduce((sum, i) => sum + reach[i] * f(n * i * Math.PI / 180), 0);
  const wave = n => Math.hypot(part(n, Math.cos), part(n, Math.sin));
  const sides = [3, 4, 5, 6, 7].sort((a, b) => wave(b) - wave(a))[0];
  return click(one(`[data-sides="${sides}"]`));""",
    "drag-cube": r"""
  const view = cube.viewport, wanted = Number(/"(\d)"/.exec(q)[1]), [x, y] = middle(one('.viewport'));
  if (Math.abs(view.torqueX) > 1 || Math.abs(view.torqueY) > 1) return call('wait', {ms: 300});
  if (Number(text(one('.active'))) === wanted) return submit();
  if (Math.hypot(view.lastX - x, view.lastY - y) > 1) return call('hover_at', {x, y});  // its way here would count as well
  const away = (from, to) => ((to - from) % 360 + 540) % 360 - 180, PIXELS = 0.45;
  const dy = PIXELS * -away(view.positionY, {1: 264, 6: 88}[wanted] ?? 0);
  const dx = {2: 1, 3: 269, 4: 177, 5: 86}[wanted] && PIXELS * away(view.positionX, {2: 360, 3: 269, 4: 177, 5: 86}[wanted]);
  const [to_x, to_y] = Math.abs(dy) > 10 ? [x, y + dy] : [x + (dx ?? 0), y];
  return call('drag_at', {x, y, to_x, to_y});""",
    "draw-circle": r"""
  if (one('path')) return click(one('#controls button'));
  // it begins on the left: there it is inside the picture, wherever the middle is
  const [cx, cy] = middle(one('#circ')), RADIUS = 24, turns = [...Array(24).keys()].map(i => Math.PI + i * Math.PI / 12);
  const [[x, y], ...through] = turns.map(turn => [cx + RADIUS * Math.cos(turn), cy + RADIUS * Math.sin(turn)]);
  return call('drag_at', {x, y, to_x: x, to_y: y, through});""",
    "find-midpoint": _BEST_PIXEL
    + r"""
  const [a, b] = centre('.black-circle'), between = [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
  return place(p => far(p, between));""",
    "hot-cold": r"""
  const TOP = 50, NEAR = [[5, 'HOT'], [10, 'WARM'], [40, 'COLD'], [Infinity, 'ICE COLD']];
  const heat = (x, y, u, v) => { const far = Math.hypot(x - u, y - v); return NEAR.find(([most]) => far < most)[1]; };
  const felt = turnwise.felt ??= [];
  if (!turnwise.feels) {
    turnwise.feels = true;
    $('#touch-area').on('mousemove', e => felt.push([e.pageX, e.pageY - TOP, text(one('#signal'))]));
  }
  const left = [];
  for (let x = 5; x < 155; x++) for (let y = 5; y < 120; y++) {
    if (felt.every(([u, v, how]) => heat(x, y, u, v) === how)) left.push([x, y]);
  }
  const hot = felt.find(([, , how]) => how === 'HOT');
  if (hot) return call('click_at', {x: hot[0], y: hot[1] + TOP});
  const some = left.filter((_, i) => i % Math.ceil(left.length / 800) === 0);
  let best = null, least = Infinity;
  for (let x = 3; x < 158; x += 3) for (let y = 3; y < 124; y += 3) {  // the place of which most is learned
    const counts = {};
    for (const [u, v] of some) { const how = heat(x, y, u, v); counts[how] = (counts[how] ?? 0) + 1; }
    const unsure = Object.values(counts).reduce((sum, n) => sum + n * Math.log(n), 0) - (counts.HOT ?? 0);
    if (unsure < least) [least, best] = [unsure, {x, y: y + TOP}];
  }
  return call('hover_at', best);""",
    "moving-items": r"""
  const svg = box(one('svg')), seen = all('.item').map(middle).filter(([x]) => x > svg.x + 4 && x < svg.x + 156);
  const rank = ([x]) => Math.abs(x - svg.x - 80);
  const [x, y] = seen.sort((a, b) => rank(b) - rank(a))[0] ?? [];
  return x ? call('click_at', {x, y: Math.min(y, svg.bottom - 6)}) : call('wait', {ms: 250});""",
    "right-angle": _BEST_PIXEL
    + r"""
  const [[a], [c]] = [centre('#init-black'), centre('#init-blue')];
  const seen = ([x, y]) => [x + 0.5, y + 0.5];  // by the page, whose new point is smaller than the others
  return place(p => far(p, c) < 20 ? 999 : Math.abs(90 - bend(a, seen(p), c)));""",
    "simon-says": r"""
  const BLINK = 600, lit = turnwise.lit ??= [];
  if (!turnwise.watches) {
    turnwise.pushes = 0;
    turnwise.watches = new MutationObserver(changes => {
      for (const {target, oldValue} of changes) if (!/push/.test(oldValue ?? '')) lit.push(target);
    });
    turnwise.watches.observe(one('#area'), {subtree: true, attributeFilter: ['class'], attributeOldValue: true});
    $('#area button').on('click', () => { turnwise.pushes++; });
  }
  const next = (lit.length + 1) * BLINK + 50 - (Date.now() - core.ept0);
  return next > 0 ? call('wait', {ms: next}) : click(lit[turnwise.pushes]);""",
    "tic-tac-toe": r"""
  const random = new Math.seedrandom(turnwise.seed, {global: false}), draws = Array.from({length: 60}, () => random());
  const held = [gameState, freeSpaces], moves = gameState.filter(mark => mark === 1).length;
  let at, best, most = -2;
  const below = n => Math.floor(draws[at++] * n), any = list => list[below(list.length)];
  const answer = () => {  // what the page does then
    const blind = below(100) < RANDOM_CHANCE || freeSpaces.length === 9;
    let space = blind ? any(freeSpaces) : determineSpace(-1, 1);
    if (space === undefined || space === false) space = any(freeSpaces);
    put(space, -1);
  };
  const put = (space, mark) => { gameState[space] = mark; freeSpaces.splice(freeSpaces.indexOf(space), 1); };
  const over = () => checkWinner(1) || checkWinner(-1) || !freeSpaces.length;
  const played = order => {
    [gameState, freeSpaces, at] = [Array(9).fill(0), [...EMPTY_SPACES], 0];
    if (below(100) > 50) answer();
    for (const space of order) { put(space, 1); if (!over()) answer(); }
  };
  const search = order => {
    played(order);
    if (order.length === moves && gameState.join() !== held[0].join()) return;
    if (over()) {
      const worth = checkWinner(1) ? 10 - order.length : checkWinner(-1) ? -1 : 0;
      if (worth > most) [most, best] = [worth, order];
      return;
    }
    for (const space of [...freeSpaces]) search([...order, space]);
  };
  search([]);
  [gameState, freeSpaces] = held;
  return click(one('#ttt-' + best[moves]));""",
    "use-colorwheel": r"""
  const hex = ui_utils.colorNameToHex(/Select (\w+) with/.exec(q)[1]).slice(1).toUpperCase();"""
    + _COLOUR,
    "use-colorwheel-2": r"""
  const parts = getComputedStyle(one('.cc')).backgroundColor.match(/\d+/g);
  const hex = parts.map(part => Number(part).toString(16).padStart(2, '0')).join('').toUpperCase();"""
    + _COLOUR,
}
