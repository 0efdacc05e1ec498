"""Pairs of queries, and whether both ask for the same: NULLs, duplicates, order, rounding, types, dates, sets, windows."""

import sqlite3

import pytest

from turnwise.tool_servers.sql.grader import Grader
from turnwise.tool_servers.sql.variants import neighbours_of

SCRIPT = """
CREATE TABLE c(id INTEGER PRIMARY KEY, name TEXT, city TEXT, born TEXT, score REAL, tags TEXT, active INTEGER);
CREATE TABLE o(id INTEGER PRIMARY KEY, c_id INTEGER REFERENCES c(id), amount REAL, qty INTEGER, at TEXT, note TEXT);
INSERT INTO c VALUES (1,'Ann','Oslo','1990-01-05',1.5,'a,b',1),
    (2,'Bob',NULL,'1985-12-31',NULL,'',0),
    (3,'Ann','Rome','2000-02-29',3.25,NULL,1),
    (4,'Cy','Oslo','1990-01-05',0.1,'b',1),
    (5,'Di','',NULL,2.0,'a',0),
    (6,'Ed','rome','1999-07-07',1.5,'c',NULL);
INSERT INTO o VALUES (1,1,10.0,1,'2023-01-01','x'),
    (2,1,20.5,2,'2023-02-01',NULL),
    (3,3,0.1,3,'2023-01-15','x'),
    (4,3,0.2,1,'2022-12-31',''),
    (5,4,10.0,5,'2023-03-01','y'),
    (6,NULL,7.0,1,'2023-01-01','z'),
    (7,6,NULL,2,NULL,'x'),
    (8,1,10.0,1,'2023-01-01','x');
"""

PAIRS = [
    ("SELECT name FROM c", "SELECT DISTINCT name FROM c", False),
    ("SELECT DISTINCT name FROM c", "SELECT name FROM c GROUP BY name", True),
    ("SELECT DISTINCT name FROM c", "SELECT name FROM c UNION SELECT name FROM c", True),
    ("SELECT name FROM c WHERE city IS NULL", "SELECT name FROM c WHERE city = NULL", False),
    ("SELECT name FROM c WHERE city IS NULL", "SELECT name FROM c WHERE COALESCE(city,'') = ''", False),
    ("SELECT count(city) FROM c", "SELECT count(*) FROM c", False),
    ("SELECT count(city) FROM c", "SELECT count(*) FROM c WHERE city IS NOT NULL", True),
    ("SELECT count(city) FROM c", "SELECT sum(city IS NOT NULL) FROM c", True),
    ("SELECT avg(score) FROM c", "SELECT sum(score)/count(*) FROM c", False),
    ("SELECT avg(score) FROM c", "SELECT total(score)/count(score) FROM c", True),
    ("SELECT sum(amount) FROM o", "SELECT round(sum(amount),2) FROM o", True),
    ("SELECT avg(amount) FROM o", "SELECT round(avg(amount),1) FROM o", False),
    ("SELECT 0.1+0.2, id FROM c", "SELECT 0.3, id FROM c", True),
    ("SELECT name, city FROM c ORDER BY name", "SELECT city, name FROM c ORDER BY name", True),
    ("SELECT name, city FROM c ORDER BY name", "SELECT name, city FROM c ORDER BY name DESC", False),
    ("SELECT name FROM c ORDER BY score DESC", "SELECT name FROM c ORDER BY score", False),
    ("SELECT name, score FROM c ORDER BY score", "SELECT name, score FROM c ORDER BY score, name DESC", True),
    ("SELECT name, score FROM c", "SELECT name, score FROM c ORDER BY score", True),
    ("SELECT name, score FROM c ORDER BY score NULLS LAST", "SELECT name, score FROM c ORDER BY score", False),
    ("SELECT id FROM o WHERE at > '2023-01-01'", "SELECT id FROM o WHERE at >= '2023-01-02'", True),
    ("SELECT strftime('%Y',born) FROM c", "SELECT CAST(strftime('%Y',born) AS INTEGER) FROM c", False),
    ("SELECT substr(born,1,4) FROM c", "SELECT strftime('%Y',born) FROM c", True),
    (
        "SELECT id FROM c WHERE id NOT IN (SELECT c_id FROM o WHERE c_id IS NOT NULL)",
        "SELECT id FROM c WHERE id NOT IN (SELECT c_id FROM o)",
        False,
    ),
    (
        "SELECT id FROM c WHERE id NOT IN (SELECT c_id FROM o WHERE c_id IS NOT NULL)",
        "SELECT c.id FROM c LEFT JOIN o ON o.c_id=c.id WHERE o.id IS NULL",
        True,
    ),
    ("SELECT c.name, o.amount FROM c JOIN o ON o.c_id=c.id", "SELECT c.name, o.amount FROM c, o WHERE c.id=o.c_id", True),
    ("SELECT c.name, o.amount FROM c JOIN o ON o.c_id=c.id", "SELECT c.name, o.amount FROM c LEFT JOIN o ON o.c_id=c.id", False),
    ("SELECT name, count(*) FROM c GROUP BY name", "SELECT id, count(*) FROM c GROUP BY name", False),
    ("SELECT city, count(*) FROM c GROUP BY city", "SELECT city, count(*) FROM c GROUP BY city HAVING city IS NOT NULL", False),
    ("SELECT max(amount) FROM o", "SELECT amount FROM o ORDER BY amount DESC LIMIT 1", True),
    ("SELECT min(amount) FROM o", "SELECT amount FROM o ORDER BY amount LIMIT 1", False),
    ("SELECT name FROM c WHERE score BETWEEN 1 AND 2", "SELECT name FROM c WHERE score>=1 AND score<=2", True),
    ("SELECT name FROM c WHERE name LIKE 'A%'", "SELECT name FROM c WHERE substr(name,1,1)='A'", True),
    ("SELECT name FROM c EXCEPT SELECT 'Ann'", "SELECT name FROM c WHERE name<>'Ann'", False),
    ("SELECT name FROM c EXCEPT SELECT 'Ann'", "SELECT DISTINCT name FROM c WHERE name<>'Ann'", True),
    ("SELECT name FROM c UNION ALL SELECT note FROM o", "SELECT name FROM c UNION SELECT note FROM o", False),
    ("SELECT id FROM c WHERE active", "SELECT id FROM c WHERE active IS NOT NULL", False),
    ("SELECT CASE WHEN active THEN 'y' ELSE 'n' END FROM c", "SELECT iif(active,'y','n') FROM c", True),
    ("SELECT id, row_number() OVER (ORDER BY id) FROM c", "SELECT id, (SELECT count(*) FROM c d WHERE d.id<=c.id) FROM c", True),
    ("SELECT id, rank() OVER (ORDER BY score) FROM c", "SELECT id, row_number() OVER (ORDER BY score) FROM c", False),
    ("SELECT count(DISTINCT city) FROM c", "SELECT count(*) FROM (SELECT DISTINCT city FROM c)", False),
    ("SELECT CAST(qty AS TEXT) FROM o", "SELECT qty FROM o", False),
    ("SELECT qty FROM o", "SELECT qty*1.0 FROM o", True),
    ("SELECT qty*100/7 FROM o", "SELECT qty*100.0/7 FROM o", False),
    ("SELECT name, name FROM c", "SELECT name FROM c", False),
    ("SELECT id, c_id FROM o", "SELECT c_id, id FROM o", True),
    ("SELECT id, qty FROM o", "SELECT id, id FROM o", False),
    ("SELECT name FROM c ORDER BY id LIMIT 2", "SELECT name FROM c WHERE id<=2", False),
    ("SELECT name FROM c ORDER BY id LIMIT 2", "SELECT name FROM (SELECT name,id FROM c ORDER BY id LIMIT 2) ORDER BY id", True),
    ("SELECT sum(amount) FROM o WHERE qty>99", "SELECT 0", False),
    ("SELECT sum(amount) FROM o WHERE qty>2", "SELECT total(amount) FROM o WHERE qty>2", True),
    ("SELECT group_concat(name) FROM c", "SELECT 'Ann,Bob,Ann,Cy,Di,Ed'", False),
    ("SELECT name FROM c WHERE id=1", "SELECT 'Ann'", False),
]


def built() -> bytes:
    db = sqlite3.connect(":memory:")
    db.executescript(SCRIPT)
    content = db.serialize()
    db.close()
    return content


BASE = built()


@pytest.mark.parametrize(("gold", "other", "same"), PAIRS)
def test_pairs(gold: str, other: str, same: bool) -> None:
    grader = Grader([BASE, *neighbours_of(BASE, gold, tries=12)])
    assert grader.grade(grader.gold(gold, strict=False), other).score == float(same)
