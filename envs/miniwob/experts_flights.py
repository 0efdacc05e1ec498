"""Experts for the flight bookings: the request that the page will compare with, put into the form as a person would."""

__all__ = ["FLIGHTS"]

_FORM = r"""
  const doc = one('#wrap').contentDocument, wanted = core.currentQuestion.request;
  const field = name => one(`[name="${name}"]`, doc), inner = what => all(what, doc).find(shown);
  const written = (name, words) => {  // by the list that comes up, where there is one
    const e = field(name);
    if (!wanted[name] || e.value === wanted[name]) return null;
    const offer = all('li', doc).find(item => shown(item) && text(item).includes(words));
    return offer && e.value ? click(offer) : type(e, words);
  };"""
_ALASKA = (
    _FORM
    + r"""
  const key = name => 'SearchFields.' + name, put = name => written(key(name), wanted[key(name)]);
  const missing = name => wanted[key(name)] && field(key(name)).value !== wanted[key(name)];
  const calendar = inner('#modal-background');
  if (calendar) {
    const name = /departure/.test(text(one('.title', calendar))) ? 'DepartureDate' : 'ReturnDate';
    if (!missing(name)) return click(all('div', doc).find(e => /^done$/i.test(text(e))));
    return click(all('.cal-day', calendar).find(e => text(e) === wanted[key(name)].split('/')[1]));
  }
  const oneWay = one('#srh-isow', doc).checked === (wanted[key('SearchType')] === 'OneWay');
  const date = ['DepartureDate', 'ReturnDate'].find(missing);
  const more = Number(wanted[key('NumberOfTravelers')]) > Number(field(key('NumberOfTravelers')).value);
  const cabin = one('#cabin-' + (wanted[key('CabinType')] ?? 'Coach').toLowerCase(), doc), seat = cabin.parentElement;
  return first([put('DepartureCity'), put('ArrivalCity'), !oneWay && click(one('label[for=srh-isow]', doc)),
    date && click(field(key(date))), more && click(all('.tnum-button', doc)[1]),
    !cabin.checked && click(shown(seat) ? seat : inner('#moreoptionsdiv h2'))]) ?? click(inner('input[type=submit]'));"""
)

FLIGHTS = {
    "flight.AA": _FORM
    + r"""
  const put = name => written(name, wanted[name]);
  const date = name => {
    const [month, day, year] = wanted[name].split('/').map(Number);
    if (field(name).value === wanted[name]) return null;
    const days = all(`td[data-month="${month - 1}"][data-year="${year}"]`, doc), there = days.find(e => Number(text(e)) === day);
    return click(there && shown(there) ? one('a', there) : field(name));
  };
  return put('segments[0].origin') || put('segments[0].destination') || date('segments[0].travelDate') ||
    date('segments[1].travelDate') || click(inner('.miniwob-main-form [type=submit]'));""",
    "flight.Alaska": _ALASKA,
    "flight.Alaska-auto": _ALASKA,
    "flight.Alaska-auto-medium": _ALASKA,
}
