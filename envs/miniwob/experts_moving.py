"""Experts for pages where one drags, slides, scrolls, draws and plays."""

__all__ = ["MOVING"]

_SLIDE = r"""
  const slide = (part, wanted) => {
    const value = $(part).slider('value'), handle = one('.ui-slider-handle', part);
    if (value === wanted) return null;
    const {min, max, orientation} = $(part).slider('option'), far = (wanted - min) / (max - min), b = box(part);
    const [x, y] = orientation === 'vertical' ? [b.x + b.width / 2, b.bottom - 1 - far * (b.height - 2)]
      : [b.x + 1 + far * (b.width - 2), b.y + b.height / 2];
    const on = document.activeElement === handle && Math.abs(value - wanted) <= 3;
    return on ? press(value < wanted ? 'ArrowRight' : 'ArrowLeft') : call('click_at', {x, y});
  };"""
_SORT = """
  const items = all('#sortable li');
  const onto = (from, to) => {
    const a = box(items[from]), b = box(items[to]), x = a.x + a.width / 2;
    return call('drag_at', {x, y: a.y + a.height / 2, to_x: x, to_y: b.y + b.height / 2 + (to > from ? 4 : -4)});
  };"""
_DRAG_OUT = r"""
  const shape = one('.black-shape, .black-circle'), [x, y] = middle(shape), way = /(left|right|up|down)/.exec(q)[1];
  const moved = shape.getAttribute('transform');
  if (moved) return submit();
  const [dx, dy] = {left: [-40, 0], right: [40, 0], up: [0, -40], down: [0, 40]}[way];
  return call('drag_at', {x, y, to_x: x + dx, to_y: y + dy});"""
_INTO = r"""
  const inside = (e, part) => {
    const [x, y] = middle(e), b = box(part);
    return x > b.left + 8 && x < b.right - 8 && y > b.top + 8 && y < b.bottom - 8;
  };
  const kinds = {rectangles: 'rect', circles: 'circle', triangles: 'polygon'};
  const parts = all('#area_svg > *').filter(e => e.id !== 'shape-container');
  const put = (e, [to_x, to_y]) => { const [x, y] = middle(e); return call('drag_at', {x, y, to_x, to_y}); };"""

MOVING = {
    "daily-calendar": r"""
  const [, many, unit, name, from, half] = /a ([\d.]+) (mins|hours?) event named "(\w+)", between (\d+)(AM|PM)/.exec(q);
  const form = one('#create-event'), size = unit === 'mins' ? many / 30 : many * 2;
  if (form) return type(one('#event-name'), name) || click(one('.create', form));
  const start = 2 * (Number(from) % 12 + (half === 'PM' ? 12 : 0)), area = one('#area'), [left, top] = [box(area).x, box(area).y];
  const taken = all('.event').map(e => [Math.round((e.offsetTop - 4) / 20.42), Number(e.dataset.duration)]);
  const free = at => taken.every(([from, many]) => at + size <= from || from + many <= at);
  const at = [...Array(9 - size).keys()].map(i => start + i).find(free), rows = all('.half-hour');
  const ends = [rows[at], rows[at + size - 1]], far = box(ends[0]).top - top - 60;
  if (Math.abs(far) > 20 && area.scrollTop + far > 0) return call('scroll', {pixels: Math.round(far), mark: mark(area)});
  const x = box(one('.event')).x - 1.6, [y, last] = ends.map(e => middle(e)[1]);
  const shows = top - area.scrollTop + at * 20.42 + 4 + size * 10;  // where the new event lies: let go there
  return call('drag_at', {x, y, to_x: left + 70, to_y: shows, through: [[x, y + 2], [x, last + 2]]});""",
    "drag-box": """
  if (smallBoxContained()) return submit();
  const [x, y] = middle(one('#draggableSmall')), [to_x, to_y] = middle(one('#draggableLarge'));
  return call('drag_at', {x, y, to_x, to_y});""",
    "drag-circle": _DRAG_OUT,
    "drag-items": _SORT
    + r"""
  const [, name, how] = /Drag (\S+) (.*)$/.exec(q), from = items.findIndex(e => text(e) === name), n = items.length;
  const place = /(\d)\w\w position/.exec(how);
  const to = place ? Number(place[1]) - 1 : /top/.test(how) ? 0 : /bottom/.test(how) ? n - 1 : from + (/down/.test(how) ? 1 : -1);
  return onto(from, to);""",
    "drag-items-grid": r"""
  const items = all('#sortable li'), [, name, how] = /Drag (\S+) to the (.*)\.$/.exec(q) ?? /Drag (\S+) (.*) by one\.$/.exec(q);
  const from = items.findIndex(e => text(e) === name), step = {up: -3, down: 3, left: -1, right: 1}[how];
  const place = ['top left', 'top center', 'top right', 'center left', 'center', 'center right', 'bottom left', 'bottom center',
    'bottom right'].indexOf(how);
  const to = step ? from + step : place, [x, y] = middle(items[from]), [to_x, to_y] = middle(items[to]);
  const ahead = [to_x + 6 * Math.sign(to_x - x), to_y + 6 * Math.sign(to_y - y)];
  const through = [to_x > x && to_y < y ? [ahead[0], y] : [to_x, to_y]];  // the last stretch decides on which side it lands
  return call('drag_at', {x, y, to_x: ahead[0], to_y: ahead[1], through});""",
    "drag-shapes": _INTO
    + r"""
  const kind = kinds[/(rectangles|circles|triangles)/.exec(q)[1]], home = one('#shape-container');
  const left = parts.filter(e => e.tagName === kind && !inside(e, home));
  const b = box(home);
  return left.length ? put(left[0], [b.x + 15 + 12 * (parts.indexOf(left[0])), b.y + b.height / 2]) : submit();""",
    "drag-shapes-2": _INTO
    + r"""
  const what = /all (.*) into the left/.exec(q)[1], homes = all('#shape-container');
  const fits = e => kinds[what] ? e.tagName === kinds[what] : e.getAttribute('fill') === what.split(' ')[0];
  const goal = e => homes[fits(e) ? 0 : 1], left = parts.find(e => !inside(e, goal(e)));
  if (!left) return submit();
  const b = box(goal(left)), n = parts.indexOf(left);
  return put(left, [b.x + 14 + 10 * n, b.y + 15 + 18 * (n % 2)]);""",
    "drag-single-shape": _DRAG_OUT,
    "drag-sort-numbers": _SORT
    + r"""
  const numbers = items.map(e => Number(text(e))), wanted = [...numbers].sort((a, b) => a - b);
  const to = numbers.findIndex((n, i) => n !== wanted[i]);
  return to < 0 ? submit() : onto(numbers.lastIndexOf(wanted[to]), to);""",
    "draw-line": r"""
  if (one('svg path')) return click(one('#controls button'));
  const [x, y] = middle(one('#circ')), flat = /horizontal/.test(q);
  return call('drag_at', flat ? {x: x - 20, y, to_x: x + 30, to_y: y} : {x, y: y - 20, to_x: x, to_y: y + 30});""",
    "form-sequence": _SLIDE
    + r"""
  const n = Number(/Select (-?\d+) with/.exec(q)[1]), place = /the (\d)\w\w checkbox/.exec(q)[1];
  return slide(one('#slider'), n) || tick(one('#checkbox-' + place)) || submit();""",
    "highlight-text": r"""
  const part = one('#randomText'), b = box(part);
  if (squash(String(getSelection())) === squash(text(part))) return submit();
  return call('drag_at', {x: b.x, y: b.y + 3, to_x: b.right - 2, to_y: b.bottom - 2});""",
    "highlight-text-2": r"""
  const part = all('#randomText p')[Number(/the (\d)/.exec(q)[1]) - 1], b = box(part);
  if (squash(String(getSelection())) === squash(text(part))) return submit();
  return call('drag_at', {x: b.x, y: b.y + 3, to_x: b.right - 2, to_y: b.bottom - 2});""",
    "resize-textarea": r"""
  const [x, y] = middle(one('.ui-resizable-se')), [, side, way] = /the (width|height) is (smaller|larger)/.exec(q);
  const size = $('#tt')[side](), before = turnwise.before ??= size;
  if (way === 'larger' ? size > before : size < before) return click(one('#submit'));
  const far = way === 'larger' ? 15 : -15;
  return call('drag_at', {x, y, to_x: x + (side === 'width' ? far : 0), to_y: y + (side === 'height' ? far : 0)});""",
    "scroll-text-2": r"""
  const area = one('#text-area'), down = /bottom/.test(q);
  const there = down ? area.scrollTop + area.clientHeight >= area.scrollHeight - 1 : area.scrollTop === 0;
  return there ? submit() : call('scroll', {pixels: down ? 5000 : -5000, mark: mark(area)});""",
    "use-slider": _SLIDE + r"return slide(one('#slider'), Number(/Select (-?\d+) with/.exec(q)[1])) || submit();",
    "use-slider-2": _SLIDE
    + r"""
  const wanted = JSON.parse(/\[.*\]/.exec(q)[0]);
  return first(wanted.map((n, i) => slide(one('#slider-' + (i + 1)), n))) || submit();""",
    "use-spinner": r"""
  const n = Number(/Select (-?\d+) with/.exec(q)[1]), now = Number(one('#spinner').value);
  return now === n ? submit() : click(one(now < n ? '.ui-spinner-up' : '.ui-spinner-down'));""",
}
