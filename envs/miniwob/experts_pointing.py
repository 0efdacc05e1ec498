"""Experts for pages where one clicks: what to find, as JavaScript that returns the next step."""

__all__ = ["PICK_DATE", "POINTING"]

PICK_DATE = r"""
  const pick = () => {  // the date that is asked for, in the calendar of the field; null when it stands there
    const [month, day, year] = /(\d+)\/(\d+)\/(\d+)/.exec(q).slice(1).map(Number), field = one('#datepicker');
    if (field.value) return null;
    if (!shown(one('#ui-datepicker-div'))) return click(field);
    const now = new Date(text(one('.ui-datepicker-title')).replace(/(\d+)$/, ' $1 1'));
    const far = (year - now.getFullYear()) * 12 + month - 1 - now.getMonth();
    if (far) return click(one(far > 0 ? '.ui-datepicker-next' : '.ui-datepicker-prev'));
    return click(all('.ui-datepicker-calendar a').find(e => Number(text(e)) === day));
  };"""
"""Used by others as well."""
_DATE = PICK_DATE + "return pick() || submit();"

_BUTTON = "return click(named('button', said[0]));"
_LINK_IN_TABS = """
  const link = all('#area span.alink').find(e => text(e) === said[0]);
  if (shown(link)) return click(link);
  return click(one(`a[href="#${link.closest('.ui-tabs-panel').id}"]`));"""
_CHECKBOXES = """
  const names = /^Select (.*) and click Submit/.exec(q)[1].split(', ');
  return first(all('#area label').map(e => tick(one('input', e), names.includes(text(e))))) || submit();"""
_COLLAPSIBLE_LINK = """
  const link = all('#area span.alink').find(e => text(e) === said[0]), part = link.closest('.ui-accordion-content');
  return click(shown(link) ? link : part.previousElementSibling);"""
_PIE = """
  const item = all('tspan').find(e => text(e) === said[0]);
  return box(item).width > 2 ? click(item.parentElement) : click(one('#wheelnav-divWheel-spreader'));"""
_SHAPES = r"""
  const of = e => e.tagName === 'text' ? (/\d/.test(text(e)) ? ['digit', text(e)] : ['letter', text(e)])
    : ['shape', {rect: 'rectangle', circle: 'circle', polygon: 'triangle'}[e.tagName]];
  const large = e => e.tagName === 'text' ? parseFloat(e.getAttribute('font-size')) > 15 : e.getBBox().width > 15;
  const fits = words => e => words.every(word => word === 'item' || of(e).includes(word) || e.getAttribute('fill') === word ||
    word === (large(e) ? 'large' : 'small'));
  const items = all('#area_svg > *');"""

POINTING = {
    "ascending-numbers": "return click(all('svg text, svg rect')[0]);",
    "buy-ticket": """
  const cost = /cost/.test(q), most = /longest|most/.test(q);
  const of = e => Number(cost ? one('.buy-ticket', e).dataset.price : one('.time-duration', e).dataset.duration);
  const best = all('.flight').sort((a, b) => most ? of(b) - of(a) : of(a) - of(b))[0];
  return click(one('.buy-ticket', best));""",
    "button-delay": r"""
  if (!buttonsPushed.length) return click(one('#subbtn'));
  const left = Number(/wait (\d+)/.exec(q)[1]) * 1000 - (Date.now() - currentTime);
  return left > 0 ? call('wait', {ms: left}) : click(one('#subbtn2'));""",
    "choose-date": _DATE,
    "choose-date-easy": _DATE,
    "choose-date-medium": _DATE,
    "choose-date-nodelay": _DATE,
    "click-button": _BUTTON,
    "click-button-sequence": "return click(one(buttonsPushed.length ? '#subbtn2' : '#subbtn'));",
    "click-checkboxes": _CHECKBOXES,
    "click-checkboxes-large": _CHECKBOXES,
    "click-checkboxes-soft": """
  const words = /similar to (.*) and click Submit/.exec(q)[1].split(', ');
  const alike = name => SYNONYMS.some(all => all.includes(name) && all.some(word => words.includes(word)));
  return first(all('#area label').map(e => tick(one('input', e), alike(text(e))))) || submit();""",
    "click-checkboxes-transfer": _CHECKBOXES,
    "click-collapsible": "return shown(one('.ui-accordion-content')) ? submit() : click(one('h3'));",
    "click-collapsible-2": _COLLAPSIBLE_LINK,
    "click-collapsible-2-nodelay": _COLLAPSIBLE_LINK,
    "click-collapsible-nodelay": "return shown(one('.ui-accordion-content')) ? submit() : click(one('h3'));",
    "click-color": r"""
  const name = /Click on the (\w+) colored/.exec(q)[1];
  return click(all('#area .color').find(e => e.dataset.color === name));""",
    "click-dialog": "return click(one('.ui-dialog-titlebar-close'));",
    "click-dialog-2": "return click(said[0] === 'x' ? one('.ui-dialog-titlebar-close') : named('button', said[0]));",
    "click-link": "return click(all('.alink').find(e => text(e) === said[0]));",
    "click-menu": """
  const path = /^Select (.*)$/.exec(q)[1].split('>').map(word => all('#menu div').find(e => text(e) === word));
  const open = [...path].reverse().find(shown);
  return open === path.at(-1) ? click(open) : call('hover', {mark: mark(open)});""",
    "click-menu-2": """
  const icon = one('#query .ui-icon'), kind = icon && [...icon.classList].find(name => name.startsWith('ui-icon-'));
  const item = all('#menu li div').find(e => icon ? one('.' + kind, e) : text(e) === said[1]);
  if (shown(item)) return click(item);
  return click(shown(one('#menu')) ? named('#menu > li > div', 'Playback') : one('#open-menu'));""",
    "click-option": r"""
  const name = /^Select (.*) and click Submit/.exec(q)[1], label = all('#area label').find(e => text(e) === name);
  return tick(one('input', label)) || submit();""",
    "click-pie": _PIE,
    "click-pie-nodelay": _PIE,
    "click-shades": r"""
  const name = /shades of (\w+)/.exec(q)[1], left = all('#area span').filter(e => e.dataset.color === name && !e.className);
  return click(left[0] ?? one('#submit'));""",
    "click-shape": _SHAPES
    + r"""
  return click(items.find(fits(/Click on an? (.*)/.exec(q)[1].split(' '))));""",
    "click-tab": r"return click(named('#area ul a', /Tab #\d+/.exec(q)[0]));",
    "click-tab-2": _LINK_IN_TABS,
    "click-tab-2-easy": _LINK_IN_TABS,
    "click-tab-2-hard": _LINK_IN_TABS,
    "click-tab-2-medium": """
  const link = all('#area span.alink').find(e => text(e) === said[0]);
  return click(link ?? one('a[href="#tabs-2"]'));""",
    "click-test": "return click(one('#area button'));",
    "click-test-2": r"return click(named('button', /button (\w+)/.exec(q)[1]));",
    "click-test-transfer": r"return click(named('button', /button (\w+)/.exec(q)[1]));",
    "click-widget": 'return click(one(`[data-type="${said[0]}"]`));',
    "count-shape": _SHAPES
    + r"""
  const words = /How many (.*)s are there/.exec(q)[1].split(' ');
  return click(named('#count-buttons button', String(items.filter(fits(words)).length)));""",
    "find-greatest": """
  const cards = all('.card'), best = cards.sort((a, b) => Number(text(b)) - Number(text(a)))[0];
  return click(best.classList.contains('hidden') ? best : one('#submit'));""",
    "focus-text": "return click(one('#area input'));",
    "focus-text-2": r"return click(all('#area input')[Number(/(\d)\w\w input/.exec(q)[1]) - 1]);",
    "generate-number": r"""
  const shows = text(one('#display-number')), n = Number(shows), [, than, bound] = /(less|greater) than (\d+)/.exec(q) ?? [];
  const right = /odd/.test(q) ? n % 2 === 1 : /even/.test(q) ? n % 2 === 0 : than === 'less' ? n < bound : n > bound;
  return click(one(shows !== '-' && right ? '#submit' : '#generate'));""",
    "grid-coordinate": r"return click(document.getElementById(/\(.*?\)/.exec(q)[0]));",
    "identify-shape": r"""
  const e = one('#area_svg > *'), kind = {rect: 'rectangle', circle: 'circle', polygon: 'triangle'}[e.tagName];
  return click(one(`[data-type="${kind ?? (/\d/.test(text(e)) ? 'digit' : 'letter')}"]`));""",
    "navigate-tree": """
  const item = all('#tree span').find(e => text(e) === said[0]);
  if (shown(item)) return click(item);
  const parents = all('#tree li').filter(e => e.contains(item));
  return click(one('.hitarea', parents.filter(e => shown(e)).pop()));""",
    "number-checkboxes": r"""
  const wanted = PATTERNS[Number(said[0])].flat(), boxes = all('#checkboxes input');
  return first(boxes.map((e, i) => tick(e, wanted[i] === 1))) || submit();""",
    "odd-or-even": """
  const parts = all('.row').map(e => one(Number(text(one('.display-number', e))) % 2 ? '.odd' : '.even', e));
  return click(parts.find(e => !e.classList.contains('selected')) ?? one('#submit'));""",
    "order-food": r"""
  const items = all('.food-item'), count = e => Number(e.dataset.quantity), byType = /Order (\d+) items that are (.*)/.exec(q);
  if (byType) {
    const [, many, kind] = byType, good = items.find(e => all('img', e).some(img => img.alt === kind.trim()));
    return click(count(good) < Number(many) ? one('.add', good) : one('#submit-order button'));
  }
  const names = /each item: (.*)$/.exec(q)[1];
  const left = items.find(e => names.split(', ').includes(squeeze(e.dataset.item)) && count(e) < 1);
  return click(left ? one('.add', left) : one('#submit-order button'));""",
    "phone-book": r"""
  const [, name, what] = /Find (.*) in the contact book and click on their (\w+)/.exec(q);
  if (text(one('#contact .name')) === name) return click(one('#contact a.' + what));
  return click(all('#pagination a').find(e => text(e) === '>'));""",
    "social-media": r"""
  const [, user] = /For the user (\S+), click/.exec(q), kind = Object.keys(ACTIONS).find(key => ACTIONS[key] === said[0]);
  const post = all('.media').find(e => text(one('.username', e)) === user), target = one('.' + kind, post);
  return click(shown(target) ? target : one('.more', post));""",
    "social-media-all": r"""
  const user = /by (\S+) and/.exec(q)[1], kind = Object.keys(ACTIONS).find(key => ACTIONS[key] === said[0]);
  const posts = all('.media').filter(e => text(one('.username', e)) === user).map(e => one('.' + kind, e));
  return click(posts.find(e => !e.classList.contains('active')) ?? one('#submitRow button'));""",
    "social-media-some": r"""
  const [, many, user] = /on (\d+) posts? by (\S+) and/.exec(q);
  const kind = Object.keys(ACTIONS).find(key => ACTIONS[key] === said[0]);
  const posts = all('.media').filter(e => text(one('.username', e)) === user).map(e => one('.' + kind, e));
  return click(posts.slice(0, Number(many)).find(e => !e.classList.contains('active')) ?? one('#submitRow button'));""",
    "stock-market": r"""
  const price = Number(text(one('#stock-price')).slice(1)), bound = Number(/less than \$([\d.]+\d)/.exec(q)[1]);
  return one('#stock-price').textContent && price <= bound ? click(one('#buy')) : call('wait', {ms: 100});""",
    "unicode-test": _BUTTON,
}
