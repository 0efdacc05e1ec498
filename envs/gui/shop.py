"""A shop: categories, search, products, a cart, the checkout."""

from __future__ import annotations

from typing import Any

from typing_extensions import override

from turnwise.envs.draws import Draws
from turnwise.envs.gui.app import App, Step
from turnwise.envs.gui.goals import Made
from turnwise.envs.gui.widgets import Node, bar, button, card, combobox, grid, heading, link, nav, remembered, text, textbox
from turnwise.envs.gui.words import CITIES, FIRST, LAST, STREETS

__all__ = ["Shop"]

KINDS = ("Kettle", "Lamp", "Backpack", "Headphones", "Notebook", "Mug")
LOOKS = (
    *("Amber", "Blue", "Copper", "Coral", "Cream", "Dark", "Golden", "Green", "Grey", "Ivory", "Light", "Olive", "Pink", "Plain"),
    *("Red", "Rustic", "Silver", "Striped", "Violet", "White"),
)
SHIPPING = ("Standard", "Express", "Pick-up")
AMOUNTS = ("1", "2", "3", "4", "5")
PLANS = {1: (1, False, ()), 2: (2, False, ()), 3: (1, True, ("name", "choose_shipping")), 4: (2, True, ()), 5: (3, True, ())}
"""Level -> products, whether they are ordered, the fields to fill in (empty: all)."""
ADDRESS = ("name", "street", "choose_city", "choose_shipping")


class Shop(App):
    """`data`: {"catalog": {id: {"name", "kind", "cents"}}, "cart": {id: amount}, "orders": [{"items", *ADDRESS}]}."""

    name, title, home = "shop", "Shop", "kind/All"

    @classmethod
    def make(cls, draws: Draws, level: int) -> Made:
        """A catalogue, and what is to be put into the cart or ordered."""
        catalog: dict[str, Any] = {}
        for kind in KINDS:
            cents = 500 + draws.below(500)
            for number, look in enumerate(draws.shuffled(LOOKS)[: 2 + 2 * level]):
                catalog[f"{kind.lower()}{number}"] = {"name": f"{look} {kind}", "kind": kind, "cents": cents}
                cents += 10 + 10 * draws.below(90)  # no two cost the same
        data = {"catalog": dict(sorted(catalog.items(), key=lambda item: item[1]["cents"])), "cart": {}, "orders": []}
        count, ordered, asked = PLANS[level]
        items, said = dict[str, int](), list[str]()
        for kind in draws.shuffled(KINDS)[:count]:
            id_ = draws.pick([id_ for id_, product in catalog.items() if product["kind"] == kind])
            cheapest = level >= 3 and draws.below(2) == 0
            if cheapest:
                id_ = min((i for i in catalog if catalog[i]["kind"] == kind), key=lambda i: catalog[i]["cents"])
            items[id_] = 1 + draws.below(5) if level > 1 else 1
            what = f"the cheapest {kind}" if cheapest else f'"{catalog[id_]["name"]}"'
            said.append(f"{items[id_]} of {what}")
        goal: dict[str, Any] = {"cart": {}, "orders": []}
        steps = sum(3 + (amount > 1) for amount in items.values())
        if not ordered:
            goal["cart"] = items
            return Made([f"put into the cart {' and '.join(said)}, and nothing else"], data, goal, steps)
        who, where = f"{draws.pick(FIRST)} {draws.pick(LAST)}", f"{draws.pick(STREETS)} {1 + draws.below(99)}"
        values = (who, where, draws.pick(CITIES[1:]), draws.pick(SHIPPING[1:]))
        address = {field: value for field, value in zip(ADDRESS, values, strict=True) if field in (asked or ADDRESS)}
        goal["orders"] = [{"items": items, **_EMPTY, **address}]
        rest = {"name": f"to {who}", "street": where, "choose_city": address.get("choose_city", "")}
        words = [rest.get(field, f"{values[3].lower()} shipping") for field in address]
        return Made([f"order {' and '.join(said)}, {', '.join(words)}"], data, goal, steps + 3 + len(address))

    @override
    def nodes(self) -> list[Node]:
        side = _side(sum(self.data["cart"].values()))
        match self.kind:
            case "product":
                return [side, *self._product()]
            case "cart":
                return [side, *self._cart()]
            case "checkout":
                return [side, *self._checkout()]
            case _:
                return [side, *self._list()]

    def _list(self) -> list[Node]:
        search = bar(textbox("field/search", "Search", self.fields.get("search", "")), button("search/", "Search"))
        ids = self._found()
        rows = [_row(id_, self._said(id_), self.data["catalog"][id_]["cents"]) for id_ in self.shown(ids)]
        name = self.argument if self.kind == "kind" else f"Results for {self.argument}"
        return [search, heading(name), card(*rows) if rows else text("Nothing was found."), *self.position()]

    def _product(self) -> list[Node]:
        amount = combobox("field/choose_amount", "Amount", self.fields.get("choose_amount", "1"), AMOUNTS)
        words = card(text(f"Price: {self._price(self.argument)}"), text("In stock."))
        return [heading(self._said(self.argument)), words, bar(amount, button("add/", "Add to cart"))]

    def _cart(self) -> list[Node]:
        if not self.data["cart"]:
            return [heading("Cart"), text("Your cart is empty.")]
        rows = [
            bar(text(f"{amount} x {self._said(id_)}"), text(self._price(id_, amount)), button(f"remove/{id_}", "Remove"))
            for id_, amount in self.data["cart"].items()
        ]
        return [heading("Cart"), card(*rows), bar(button("checkout/", "Check out"))]

    def _checkout(self) -> list[Node]:
        form = self.fields
        boxes = (
            textbox("field/name", "Name", form["name"]),
            textbox("field/street", "Street and number", form["street"]),
            combobox("field/choose_city", "City", form["choose_city"], CITIES),
            combobox("field/choose_shipping", "Shipping", form["choose_shipping"], SHIPPING),
        )
        return [
            heading("Checkout"),
            card(grid(2, boxes)),
            bar(button("order/", "Place order"), button("cart/again", "Back to cart")),
        ]

    def _found(self) -> list[str]:
        catalog, what = self.data["catalog"], self.argument
        if self.kind == "kind":
            return [id_ for id_ in catalog if what in ("All", catalog[id_]["kind"])]
        return [id_ for id_ in catalog if what.casefold() in catalog[id_]["name"].casefold()]

    def _said(self, id_: str) -> str:
        return self.data["catalog"][id_]["name"]

    def _price(self, id_: str, amount: int = 1) -> str:
        return _euros(self.data["catalog"][id_]["cents"] * amount)

    @override
    def arrived(self) -> None:
        self.fields = dict(_EMPTY) if self.kind == "checkout" else {}

    @override
    def entered(self, name: str) -> None:
        if name == "search":
            self.on_search("")

    def on_kind(self, kind: str) -> None:
        self.go(f"kind/{kind}")

    def on_search(self, _: str) -> None:
        self.go(f"search/{self.fields.get('search', '')}")

    def on_product(self, id_: str) -> None:
        self.go(f"product/{id_}")

    def on_add(self, _: str) -> None:
        cart = self.data["cart"]
        cart[self.argument] = cart.get(self.argument, 0) + int(self.fields.get("choose_amount", "1"))
        self.note = f"{self._said(self.argument)} was added to the cart."

    def on_cart(self, _: str) -> None:
        self.go("cart/")

    def on_remove(self, id_: str) -> None:
        del self.data["cart"][id_]

    def on_checkout(self, _: str) -> None:
        self.go("checkout/")

    def on_order(self, _: str) -> None:
        if not self.data["cart"]:
            self.note = "Your cart is empty."
        elif not self.fields["name"]:
            self.note = "Name is empty."
        else:
            self.ask("Place order", f"Order {sum(self.data['cart'].values())} items now?", "buy/")

    def on_buy(self, _: str) -> None:
        self.data["orders"].append({"items": self.data["cart"], **self.fields})
        self.data["cart"], self.over = {}, True
        self.go("kind/All")
        self.note = "Thank you for your order."

    @override
    def agrees(self, key: str) -> bool:
        return key == "buy/" and self._ready() and self.filled(**self._address()) is None

    def _address(self) -> dict[str, str]:
        return {field: self.goal["orders"][0][field] for field in ADDRESS}

    def _items(self) -> dict[str, int]:
        return self.goal["orders"][0]["items"] if self.goal["orders"] else self.goal["cart"]

    def _ready(self) -> bool:
        return bool(self.goal["orders"]) and self.data["cart"] == self._items()

    @override
    def wanted(self) -> Step | None:
        cart, items = self.data["cart"], self._items()
        wrong = next((id_ for id_, amount in cart.items() if amount > items.get(id_, 0)), None)
        if wrong:
            return ("click", f"remove/{wrong}" if self.kind == "cart" else "cart/", "")
        missing = next((id_ for id_, amount in items.items() if cart.get(id_, 0) < amount), None)
        if missing:
            return self._put(missing, items[missing] - cart.get(missing, 0))
        if not self.goal["orders"]:
            return None
        if self.kind != "checkout":
            return ("click", "checkout/" if self.kind == "cart" else "cart/", "")
        return self.filled(**self._address()) or ("click", "order/", "")

    def _put(self, id_: str, amount: int) -> Step:
        if self.place == f"product/{id_}":
            if self.fields.get("choose_amount", "1") != str(amount):
                return ("select", "field/choose_amount", str(amount))
            return ("click", "add/", "")
        kind = self.data["catalog"][id_]["kind"]
        if self.place != f"kind/{kind}":
            return ("click", f"kind/{kind}", "")
        return self.scrolled_to(self._found().index(id_)) or ("click", f"product/{id_}", "")


_EMPTY = {"name": "", "street": "", "choose_city": CITIES[0], "choose_shipping": SHIPPING[0]}
"""The form of the checkout as it comes."""


@remembered
def _side(amount: int) -> Node:
    """`amount`: of things in the cart."""
    kinds = (link(f"kind/{kind}", kind) for kind in ("All", *KINDS))
    return nav(*kinds, button("cart/", f"Cart ({amount})" if amount else "Cart"))


@remembered
def _row(id_: str, name: str, cents: int) -> Node:
    """A product in a list."""
    return bar(link(f"product/{id_}", name), text(_euros(cents)))


def _euros(cents: int) -> str:
    return f"{cents / 100:.2f} EUR"
