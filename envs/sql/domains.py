"""What generated databases are about: twelve domains of four things each, with several names for every table and column.

A domain has the same skeleton everywhere: a *group* owns *entities* (a supplier has products), a *person* takes part in *events*,
and each event is about one entity (a customer's order of a product). Nouns, attributes and values differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

__all__ = ["DOMAINS", "ROLES", "Attribute", "Domain", "Kind", "Role", "Thing"]

Role = Literal["group", "entity", "person", "event"]
ROLES: Sequence[Role] = ("group", "entity", "person", "event")
Kind = Literal["id", "link", "name", "choice", "number", "real", "date"]

_VALUES = {
    "TOWNS": "Oslo Turin Ghent Lyon Porto Graz Bergen Malmo Leeds Cork Gdansk Tartu",
    "LANDS": "Norway Italy Belgium France Portugal Austria Sweden Ireland Poland Estonia",
}
# A domain, its things ("role: singular, plural: names of the table: second words of names") and their attributes
# ("phrase: names of the column: values, range or kind").
_TEXT = """
a shop for household goods
  group: supplier, suppliers: suppliers vendors manufacturers: Works Trading Supplies
    name: name full_name label title: name
    country: country nation country_name: LANDS
    founding year: founded founding_year since_year: 1950..2015 by 5
  entity: product, products: products articles items catalogue: Lamp Chair Kettle Shelf Clock Rug Vase Stool
    name: name full_name label title: name
    category: category product_group kind: kitchen garden office bath lighting textiles
    price in euros: price unit_price list_price: 5..200 by 5
    weight in kilograms: weight mass: 0..9 in quarters
  person: customer, customers: customers clients buyers
    name: name full_name display_name: name
    city: city town home_city: TOWNS
    year of birth: born birth_year year_of_birth: 1950..2004 by 3
    joining date: joined joined_on member_since: date
    tier: tier customer_class level: basic silver gold platinum
  event: order, orders: orders purchases sales
    order date: ordered_on order_date placed: date
    status: status state order_state: open paid shipped returned cancelled
    quantity: quantity qty pieces: 1..12
    shipping fee in euros: shipping fee postage: 0..8 in quarters

a city's libraries
  group: publisher, publishers: publishers presses imprints: Press House Books
    name: name full_name label title: name
    country: country nation country_name: LANDS
    founding year: founded founding_year since_year: 1950..2015 by 5
  entity: book, books: books volumes titles: River Winter Garden Shadow Letters Island Harvest
    name: name full_name label title: name
    genre: genre subject section: crime poetry history travel science drama
    number of pages: pages page_count length: 80..600 by 20
    rating: rating stars score: 1..5 in quarters
  person: member, members: members readers patrons
    name: name full_name display_name: name
    city: city town home_city: TOWNS
    year of birth: born birth_year year_of_birth: 1950..2004 by 3
    joining date: joined joined_on member_since: date
    membership: membership plan card_type: child student adult senior
  event: loan, loans: loans borrowings checkouts
    loan date: loaned_on loan_date taken: date
    state: state status loan_state: out returned overdue lost renewed
    number of days: days duration_days kept_days: 1..40
    fine in euros: fine penalty charge: 0..6 in quarters

a group of clinics
  group: clinic, clinics: clinics practices sites: Clinic Practice Centre
    name: name full_name label title: name
    city: city town home_city: TOWNS
    founding year: founded founding_year since_year: 1950..2015 by 5
  entity: doctor, doctors: doctors physicians medics: Meyer Lind Okoro Silva Varga Petit Nowak
    name: name full_name label title: name
    specialty: specialty field department: surgery cardiology neurology dermatology paediatrics
    years of experience: experience years_practising seniority: 1..35
    rating: rating score: 1..5 in quarters
  person: patient, patients: patients insured_persons insured
    name: name full_name display_name: name
    city: city town home_city: TOWNS
    year of birth: born birth_year year_of_birth: 1950..2004 by 3
    insurance: insurance insurer cover: public private foreign student
    registration date: registered: date
  event: visit, visits: visits appointments consultations
    visit date: visited_on visit_date day: date
    outcome: outcome result visit_status: cured referred missed follow-up admitted
    fee in euros: fee cost amount: 20..300 by 10
    length in hours: hours length: 0..3 in quarters

a music school
  group: department, departments: departments faculties divisions: Hall Wing Studio
    name: name full_name label title: name
    city: city town home_city: TOWNS
    founding year: founded founding_year since_year: 1950..2015 by 5
  entity: course, courses: courses classes modules: Theory Strings Choir Rhythm Harmony Piano Brass
    name: name full_name label title: name
    level: level grade_level stage: beginner elementary intermediate advanced master
    number of places: places capacity seats: 5..60 by 5
    hours a week: weekly_hours hours: 1..6 in quarters
  person: student, students: students pupils learners
    name: name full_name display_name: name
    city: city town home_city: TOWNS
    year of birth: born birth_year year_of_birth: 1950..2004 by 3
    joining date: joined joined_on member_since: date
    instrument: instrument main_instrument plays: violin piano flute cello trumpet voice
  event: enrolment, enrolments: enrolments registrations bookings
    start date: started start_date begins: date
    status: status state enrolment_status: active passed failed withdrawn waiting
    mark: mark points exam_mark: 0..100 by 4
    discount in euros: discount rebate: 0..10 in quarters

a regional airline
  group: hub, hubs: hubs bases home_airports: Field Airport Terminal
    name: name full_name label title: name
    country: country nation country_name: LANDS
    founding year: founded founding_year since_year: 1950..2015 by 5
  entity: route, routes: routes connections lines: Express Shuttle Link Arrow Bridge Coast
    name: name full_name label title: name
    aircraft type: aircraft plane_type equipment: turboprop jet wide-body commuter
    distance in kilometres: distance km route_km: 100..2500 by 50
    hours of flight: hours air_time: 1..6 in quarters
  person: passenger, passengers: passengers travellers flyers
    name: name full_name display_name: name
    country: country nation country_name: LANDS
    year of birth: born birth_year year_of_birth: 1950..2004 by 3
    joining date: joined joined_on member_since: date
    card: card loyalty_card bonus_level: blue bronze silver gold
  event: ticket, tickets: tickets bookings reservations
    travel date: travels_on travel_date flies: date
    fare class: fare_class cabin fare: saver economy flex business first
    price in euros: price amount paid: 40..640 by 20
    baggage in kilograms: baggage luggage: 0..30 in quarters

a chain of hotels
  group: hotel, hotels: hotels houses properties: Inn Palace Lodge
    name: name full_name label title: name
    city: city town home_city: TOWNS
    founding year: founded founding_year since_year: 1950..2015 by 5
  entity: room, rooms: rooms lodgings units: Suite Loft Chamber Den Parlour Nook
    name: name full_name label title: name
    view: outlook faces room_view: sea park street courtyard mountain
    nightly rate in euros: rate nightly_rate price: 40..400 by 10
    size in ares: size area: 1..6 in quarters
  person: guest, guests: guests visitors lodgers
    name: name full_name display_name: name
    country: country nation country_name: LANDS
    year of birth: born birth_year year_of_birth: 1950..2004 by 3
    joining date: joined joined_on member_since: date
    language: language speaks mother_tongue: French Polish Italian Swedish German Dutch
  event: stay, stays: stays reservations bookings
    arrival date: arrives arrival_date checkin: date
    channel: channel booked_by source: web phone agency desk partner
    number of nights: nights night_count duration: 1..21
    minibar bill in euros: minibar extras: 0..20 in quarters

a software company
  group: division, divisions: divisions departments units: Lab Office Group
    name: name full_name label title: name
    city: city town home_city: TOWNS
    founding year: founded founding_year since_year: 1950..2015 by 5
  entity: project, projects: projects initiatives programmes: Falcon Beacon Summit Atlas Comet Anchor
    name: name full_name label title: name
    phase: phase stage progress: planning design building testing live closed
    budget in thousand euros: budget funds budget_k: 20..900 by 20
    risk: risk risk_score: 0..9 in quarters
  person: employee, employees: employees staff workers
    name: name full_name display_name: name
    city: city town home_city: TOWNS
    year of birth: born birth_year year_of_birth: 1950..2004 by 3
    job: job job_name job_title: developer tester designer analyst manager
    hiring date: hired: date
  event: time sheet, time sheets: time_sheets work_logs timesheet_entries
    work date: worked_on work_date: date
    activity: activity task_kind work_type: coding review meeting support travel
    number of minutes: minutes duration logged: 15..480 by 15
    cost in euros: cost charge: 0..90 in quarters

an amateur chess league
  group: club, clubs: clubs teams associations: Knights Rooks Bishops
    name: name full_name label title: name
    city: city town home_city: TOWNS
    founding year: founded founding_year since_year: 1950..2015 by 5
  entity: tournament, tournaments: tournaments contests cups: Open Cup Masters Festival Trophy Gambit
    name: name full_name label title: name
    format: format mode system: blitz rapid classical bullet team
    prize in euros: prize prize_money purse: 50..2000 by 50
    entry fee in euros: entry_fee fee: 0..30 in quarters
  person: player, players: players entrants contestants
    name: name full_name display_name: name
    country: country nation country_name: LANDS
    year of birth: born birth_year year_of_birth: 1950..2004 by 3
    joining date: joined joined_on member_since: date
    title: title rank_title class: untitled candidate master grandmaster
  event: game, games: games matches encounters
    game date: played_on game_date day: date
    result: result outcome ending: win loss draw forfeit adjourned
    number of moves: moves move_count length: 10..90 by 2
    performance points: points gained: 0..9 in quarters

a network of workshops for cars
  group: garage, garages: garages workshops branches: Motors Garage Repairs
    name: name full_name label title: name
    city: city town home_city: TOWNS
    founding year: founded founding_year since_year: 1950..2015 by 5
  entity: mechanic, mechanics: mechanics technicians fitters: Berg Rossi Dubois Kowal Hansen Costa
    name: name full_name label title: name
    qualification: qualification skill trade: engine brakes electrics bodywork tyres
    hourly wage in euros: wage hourly_wage pay: 14..60 by 2
    rating: rating review: 1..5 in quarters
  person: owner, owners: owners drivers car_owners
    name: name full_name display_name: name
    city: city town home_city: TOWNS
    year of birth: born birth_year year_of_birth: 1950..2004 by 3
    joining date: joined joined_on member_since: date
    contract: contract plan service_plan: trial basic full fleet
  event: repair, repairs: repairs jobs work_orders
    repair date: repaired_on repair_date done: date
    urgency: urgency priority urgency_level: low normal high critical
    bill in euros: bill amount invoice: 30..900 by 30
    working hours: hours labour: 0..12 in quarters

a streaming service
  group: studio, studios: studios producers labels: Pictures Films Media
    name: name full_name label title: name
    country: country nation country_name: LANDS
    founding year: founded founding_year since_year: 1950..2015 by 5
  entity: film, films: films movies features: Dawn Signal Harbour Echo Mirage Voyage Verdict
    name: name full_name label title: name
    genre: genre film_type category: thriller comedy documentary western animation horror
    length in minutes: minutes running_time length: 60..200 by 5
    critics' score: score critics: 0..10 in quarters
  person: viewer, viewers: viewers subscribers accounts
    name: name full_name display_name: name
    country: country nation country_name: LANDS
    year of birth: born birth_year year_of_birth: 1950..2004 by 3
    joining date: joined joined_on member_since: date
    subscription: subscription plan package: free standard family premium
  event: view, views: views watch_events plays
    viewing date: watched_on view_date seen: date
    device: device screen platform: phone tablet laptop television console
    minutes watched: watched minutes_watched played: 1..120 by 3
    data in gigabytes: data_gb gb: 0..6 in quarters

a market of farm produce
  group: farm, farms: farms growers estates: Farm Fields Orchard
    name: name full_name label title: name
    country: country nation country_name: LANDS
    founding year: founded founding_year since_year: 1950..2015 by 5
  entity: crop, crops: crops produce harvests: Apples Barley Carrots Leeks Plums Rye Beans
    name: name full_name label title: name
    quality: quality grade class: organic standard premium feed
    yield in tons: yield tons harvest_tons: 2..120 by 2
    moisture: moisture humidity: 2..12 in quarters
  person: trader, traders: traders merchants dealers
    name: name full_name display_name: name
    city: city town home_city: TOWNS
    year of birth: born birth_year year_of_birth: 1950..2004 by 3
    joining date: joined joined_on member_since: date
    licence: licence permit licence_type: local regional national export
  event: delivery, deliveries: deliveries shipments consignments
    delivery date: delivered_on delivery_date: date
    transport: transport carrier shipped_by: truck rail barge van cart
    number of crates: crates boxes crate_count: 1..80 by 2
    price per crate in euros: crate_price: 1..15 in quarters

a museum association
  group: museum, museums: museums galleries collections: Museum Gallery Collection
    name: name full_name label title: name
    city: city town home_city: TOWNS
    founding year: founded founding_year since_year: 1950..2015 by 5
  entity: exhibition, exhibitions: exhibitions shows displays: Visions Traces Origins Colours Mirrors Maps
    name: name full_name label title: name
    theme: theme topic subject: painting sculpture textiles archaeology photography
    number of works: works work_count objects: 10..300 by 10
    admission in euros: admission entry: 2..20 in quarters
  person: friend, friends: friends supporters donors
    name: name full_name display_name: name
    city: city town home_city: TOWNS
    year of birth: born birth_year year_of_birth: 1950..2004 by 3
    joining date: joined joined_on member_since: date
    circle: circle support_level ring: bronze silver gold founder
  event: tour, tours: tours guided_visits walks
    tour date: toured_on tour_date held: date
    language: language tour_language spoken: English French German Spanish Polish
    number of people: people group_size heads: 2..40 by 2
    length in hours: hours duration: 0..4 in quarters"""


@dataclass(frozen=True, slots=True)
class Attribute:
    """A property of a thing."""

    kind: Kind
    phrase: str
    """As a question names it."""
    names: Sequence[str]
    """As a column may be called."""
    values: Sequence[str] = ()
    """Of a choice."""
    low: int = 0
    high: int = 0
    step: int = 1
    """Of a number: from low to high in steps. Of a real: in quarters, so that sums are exact in any order."""


@dataclass(frozen=True, slots=True)
class Thing:
    """One of the four kinds of things of a domain. Its first attribute is its name, except for events."""

    singular: str
    plural: str
    tables: Sequence[str]
    """As its table may be called."""
    labels: Sequence[str]
    """Second words of names; persons have family names instead, events have no name."""
    attributes: Sequence[Attribute]


@dataclass(frozen=True, slots=True)
class Domain:
    """What one database is about."""

    about: str
    things: Mapping[Role, Thing]


def _parsed(block: str) -> Domain:
    about, *lines = block.split("\n")
    heads = [index for index, line in enumerate(lines) if not line.startswith("    ")]
    return Domain(about, dict(_thing(lines[a:b]) for a, b in zip(heads, [*heads[1:], len(lines)], strict=True)))


def _thing(lines: Sequence[str]) -> tuple[Role, Thing]:
    role, nouns, tables, *labels = lines[0].strip().split(": ")
    singular, plural = nouns.split(", ")
    words = labels[0].split() if labels else []
    return cast(Role, role), Thing(singular, plural, tables.split(), words, [*map(_attribute, lines[1:])])


def _attribute(line: str) -> Attribute:
    phrase, names, what = line.strip().split(": ")
    if what in ("name", "date"):
        return Attribute(what, phrase, names.split())
    if ".." not in what:
        return Attribute("choice", phrase, names.split(), _VALUES.get(what, what).split())
    span, _, step = what.removesuffix(" in quarters").partition(" by ")
    low, high = map(int, span.split(".."))
    if what.endswith("quarters"):
        return Attribute("real", phrase, names.split(), (), 4 * low, 4 * high)
    return Attribute("number", phrase, names.split(), (), low, high, int(step or 1))


DOMAINS: Sequence[Domain] = [*map(_parsed, _TEXT.strip().split("\n\n"))]
