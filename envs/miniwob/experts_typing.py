"""Experts for pages where one types, selects and writes mail."""

from turnwise.envs.miniwob.experts_pointing import PICK_DATE

__all__ = ["TYPING"]

_ENTER = "return type(one('#tt'), said[0]) || submit();"
_MAIL = r"""
  const kind = task === 'star' ? 'important' : task;
  const reply = one('#reply'), forward = one('#forward'), mail = one('#email');
  if (reply) return type(one('#reply-text'), message) || click(one('#send-reply'));
  if (forward) return type(one('.forward-sender'), to) || click(one('#send-forward'));
  if (mail) return click(one(kind === 'reply' ? '#email .email-reply' : '#email .email-forward'));
  const thread = all('#main .email-thread').find(e => text(one('.email-sender', e)) === by);
  return click(kind === 'important' ? one('.star', thread) : kind === 'delete' ? one('.trash', thread) : thread);"""
_SAID_MAIL = (
    r"""
  const by = /email by (.*?) and /.exec(q)[1], to = / to ([^"]*?)\.$/.exec(q)?.[1], message = said[0];
  const task = /reply/.test(q) ? 'reply' : /forward/.test(q) ? 'forward' : /trash|delete/.test(q) ? 'delete' : 'important';"""
    + _MAIL
)
_OWN_MAIL = "const {by, task, to, message} = core.currentFields;" + _MAIL
_MOVIE = r"""
  const [, genre, name, year] = /Search for (.*) movies directed by (.*) from year (\d+)/.exec(q);
  const wanted = words => /genre/i.test(words) ? genre : /director/i.test(words) ? name : year;
  const around = e => { while (!/genre|director|year|date/i.test(text(e))) e = e.parentElement; return text(e); };
  return first(all('#area input').map(e => type(e, wanted(around(e))))) || click(one('#area button, .final, .ui-submit'));"""
_COMPLETE = """
  const [start, end = ''] = said, country = ui_utils.COUNTRIES.find(c => c.startsWith(start) && c.endsWith(end));
  const offered = named('.ui-menu-item', country);  // in a menu that lies over the button
  return type(one('#tags'), country) || (offered ? click(offered) : submit());"""
_FLIGHT = (
    PICK_DATE
    + r"""
  const [, kind, from, to] = /Book the (.*) one-way flight from: (.*) to: (.*) on /.exec(q);
  const airport = words => DOMESTIC_FLIGHTS.find(name => name.includes(words));
  if (!one('#results').classList.contains('hide')) {
    const price = e => one('.flight-price', e), time = e => one('.time-duration', e).dataset.duration;
    const of = e => Number(kind === 'cheapest' ? price(e).dataset.price : time(e));
    return click(price(all('.flight').sort((a, b) => of(a) - of(b))[0]));
  }
  const step = type(one('#flight-from'), airport(from)) || type(one('#flight-to'), airport(to));
  return step || pick() || click(one('#search'));"""
)

TYPING = {
    "book-flight": _FLIGHT,
    "book-flight-nodelay": _FLIGHT,
    "choose-list": "return choose(one('#options'), /^Select (.*) from the list/.exec(q)[1]) || submit();",
    "click-scroll-list": """
  const wanted = /^Select (.*) from the scroll list/.exec(q)[1].split(', '), list = one('#options');
  const wrong = [...list.options].find(option => option.selected !== wanted.includes(option.text));
  return wrong ? call('select', {mark: mark(list), option: wrong.text}) : submit();""",
    "copy-paste": "return type(one('#answer-input'), one('#area textarea').value) || submit();",
    "copy-paste-2": r"""
  const area = one('#text-' + /from the (\d)/.exec(q)[1]);
  return type(one('#answer-input'), area.value) || submit();""",
    "email-inbox": _SAID_MAIL,
    "email-inbox-delete": _SAID_MAIL,
    "email-inbox-forward": _SAID_MAIL,
    "email-inbox-forward-nl": _OWN_MAIL,
    "email-inbox-forward-nl-turk": _OWN_MAIL,
    "email-inbox-important": _SAID_MAIL,
    "email-inbox-nl-turk": _OWN_MAIL,
    "email-inbox-noscroll": _SAID_MAIL,
    "email-inbox-reply": _SAID_MAIL,
    "email-inbox-star-reply": _SAID_MAIL,
    "enter-date": r"""
  const [month, day, year] = /(\d+)\/(\d+)\/(\d+)/.exec(q).slice(1);
  return type(one('#tt'), `${year}-${month}-${day}`) || submit();""",
    "enter-password": "return type(one('#password'), said[0]) || type(one('#verify'), said[0]) || submit();",
    "enter-text": _ENTER,
    "enter-text-2": "return type(one('#tt'), /upper/.test(q) ? said[0].toUpperCase() : said[0].toLowerCase()) || submit();",
    "enter-text-dynamic": _ENTER,
    "enter-time": r"""
  const [, hour, minute, half] = /(\d+):(\d+)\s*(AM|PM)/.exec(q);
  const hours = String(Number(hour) % 12 + (half === 'PM' ? 12 : 0)).padStart(2, '0');
  return type(one('#tt'), `${hours}:${minute}`) || submit();""",
    "find-word": r"""
  const words = text(one('#area p')).split(' '), word = words[Number(/the (\d+)/.exec(q)[1]) - 1];
  return type(one('#answer-input'), word.replace(/[.,]/g, '')) || submit();""",
    "form-sequence-2": r"""
  const [, radio, field] = /the (\d)\w\w radio button .* into the (\d)/.exec(q);
  return tick(all('input[type=radio]')[radio - 1]) || type(one('#input-' + field), said[0]) || submit();""",
    "form-sequence-3": r"""
  const wanted = /Choose (.*) from the dropdown/.exec(q)[1];
  if (one('#dropdown').value === wanted) return click(named('#buttons button', said[0]));
  const item = all('.selectric-items li').find(e => text(e) === wanted);
  return click(shown(item) ? item : one('.selectric'));""",
    "guess-number": r"""
  const higher = /higher than (\d)/.exec(text(one('#higher'))), lower = /lower than (\d)/.exec(text(one('#lower')));
  turnwise.low = Math.max(turnwise.low ?? 0, higher ? Number(higher[1]) + 1 : 0);
  turnwise.high = Math.min(turnwise.high ?? 9, lower ? Number(lower[1]) - 1 : 9);
  return type(one('#tt'), String(Math.floor((turnwise.low + turnwise.high) / 2))) || submit();""",
    "login-user": "return type(one('#username'), said[0]) || type(one('#password'), said[1]) || submit();",
    "login-user-popup": r"""
  const cancel = all('#popup-cancel, .popup button').find(shown);
  if (cancel) return click(cancel);
  return type(one('#username'), said[0]) || type(one('#password'), said[1]) || submit();""",
    "multi-layouts": _MOVIE,
    "multi-orderings": _MOVIE,
    "read-table": r"""
  const of = key => text(all('#tab tr').find(e => text(e.cells[0]) === key).cells[1]);
  return type(one('#tt'), of(/value of (.*) into/.exec(q)[1])) || submit();""",
    "read-table-2": r"""
  const of = key => text(all('#tab tr').find(e => text(e.cells[0]) === key).cells[1]);
  return first([1, 2].map(n => type(one('#tt' + n), of(text(one('#ll' + n)).slice(0, -1))))) || submit();""",
    "scroll-text": r"""
  const words = one('#text-area').value.trim().split(/\s+/);
  return type(one('#answer-input'), words.pop().replace('.', '')) || submit();""",
    "search-engine": r"""
  const place = Number(/the (\d+)\w\w search result/.exec(q)[1]) - 1, field = one('#search-text');
  if (field.value !== said[0]) return type(field, said[0]);
  const links = all('#page-content a'), found = links.find(e => Number(e.dataset.result) === place);
  if (found) return click(found);
  return click(links.length ? named('#pagination a', String(Math.floor(place / 3) + 1)) : one('#search'));""",
    "sign-agreement": r"""
  const area = one('#text-area');
  if (!said.length) return click(one('#cancel'));
  if (one('#name').disabled) return call('scroll', {pixels: 5000, mark: mark(area)});
  return type(one('#name'), said[0]) || click(one(said[1] === 'Agree' ? '#agree' : '#cancel'));""",
    "simple-algebra": r"""
  const [, left, sign, right, result] = /^(\S+) (\S) (\S+) = (\S+)$/.exec(text(one('#math-problem')));
  const n = Number(left === 'x' ? right : left), whole = Number(result);
  return type(one('#math-answer'), String(sign === '+' ? whole - n : left === 'x' ? whole + n : n - whole)) || submit();""",
    "simple-arithmetic": r"""
  const [, left, sign, right] = /^(-?\d+) (\S) (-?\d+)/.exec(text(one('#math-problem')));
  const [a, b] = [Number(left), Number(right)];
  return type(one('#math-answer'), String(sign === '+' ? a + b : sign === '-' ? a - b : a * b)) || submit();""",
    "terminal": r"""
  const kind = /extension (\.[\w.]+)/.exec(q)?.[1], shows = text(one('#active-input'));
  const listed = all('.output').map(text).find(line => currentFiles.every(file => line.split(' ').includes(file)));
  const file = currentFiles.find(name => kind ? name.endsWith(kind) : !name.includes('.'));
  const line = listed === undefined ? 'ls' : `rm ${file}`;
  if (shows === line) return press('Enter');
  return shows ? press('Backspace') : call('type', {text: line, mark: mark(one('#terminal-target'))});""",
    "text-editor": r"""
  const [what, look] = all('#query .bold').map(text), page = one('.ql-editor'), words = text(page);
  const wanted = what === 'everything' ? words : what, colour = COLOR_MAP[look]?.[0];
  const done = op => colour ? op.attributes?.color === colour : op.attributes?.[ACTION_KEY[look]];
  if (editor.getContents().ops.some(done)) return submit();
  const item = one(`.ql-picker-item[data-value="${colour}"]`);
  if (shown(item)) return click(item);
  if (squeeze(String(getSelection())) !== wanted) {
    if (document.activeElement !== page) return click(page);
    const range = document.createRange(), walk = document.createTreeWalker(page, NodeFilter.SHOW_TEXT), part = walk.nextNode();
    const at = ` ${part.data} `.indexOf(` ${wanted} `);
    range.setStart(part, at);
    range.setEnd(part, at + wanted.length);
    const [a, b] = [range.getClientRects()[0], [...range.getClientRects()].at(-1)];
    return call('drag_at', {x: a.left + 1, y: a.top + a.height / 2, to_x: b.right - 1, to_y: b.top + b.height / 2});
  }
  return click(one(colour ? '.ql-color .ql-picker-label' : '.ql-' + ACTION_KEY[look]));""",
    "text-transform": "return type(one('#tt'), text(one('#captcha'))) || submit();",
    "use-autocomplete": _COMPLETE,
    "use-autocomplete-nodelay": _COMPLETE,
    "visual-addition": "return type(one('#math-answer'), String(all('.addition-block').length)) || submit();",
}
