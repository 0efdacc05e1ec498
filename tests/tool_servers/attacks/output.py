"""Attacks through what is printed and returned. The server's own memory is watched."""

from tests.tool_servers.attacks.record import ANY, Attack
from turnwise.tool_servers.sandbox.protocol import Status

__all__ = ["ATTACKS"]

OK, OUTPUT = Status.OK, Status.OUTPUT
ATTACKS = (
    Attack(
        name="endless stdout",
        tries="write to standard output for ever",
        code="while True: os.write(1, b'x' * 65536)",
        statuses=(OUTPUT,),
        alone=True,
        dangerous=True,
    ),
    Attack(
        name="endless stderr",
        tries="write to standard error for ever",
        code="while True: os.write(2, b'x' * 65536)",
        statuses=(OUTPUT,),
        alone=True,
        dangerous=True,
    ),
    Attack(
        name="endless both, by children",
        tries="four children write to both for ever",
        code="""
for _ in range(4):
    if os.fork() == 0:
        while True: os.write(1, b'x' * 65536); os.write(2, b'y' * 65536)
time.sleep(20)""",
        statuses=(OUTPUT,),
        alone=True,
        dangerous=True,
    ),
    Attack(
        name="one line of a megabyte",
        tries="print one line without an end",
        code="print('x' * 1_000_000, end='')",
        statuses=(OK,),
        after="truncated",
    ),
    Attack(
        name="bytes that are no text",
        tries="invalid UTF-8, NUL, lone surrogates, escape sequences",
        code=r"""
os.write(1, bytes(range(256)) + b'\xed\xa0\x80\x00\x1b]0;title\x07\r\n')
sys.stdout.write('\ud800') if False else None
raise ValueError('\ud800\x00\x1b[2J')""",
        statuses=(Status.ERROR,),
        after="goes_on",
    ),
    Attack(
        name="closes everything",
        tries="close descriptors 0 to 63 and print",
        code="os.closerange(0, 64)\nprint('x')",
        statuses=ANY,
        alone=True,
        after="goes_on",
        dangerous=True,
    ),
    Attack(
        name="dup over everything",
        tries="put its standard output over descriptors 3 to 63",
        code="for n in range(3, 64): quietly(lambda: os.dup2(1, n))\nprint('x')",
        statuses=ANY,
        alone=True,
        after="goes_on",
        dangerous=True,
    ),
    Attack(
        name="/dev/null over everything",
        tries="put /dev/null over descriptors 0 to 63",
        code="z = os.open('/dev/null', os.O_RDWR)\nfor n in range(64):\n    if n != z: os.dup2(z, n)\nprint('x')",
        statuses=ANY,
        alone=True,
        after="goes_on",
        dangerous=True,
    ),
    Attack(
        name="output without a print",
        tries="sys.stdout, sys.stderr and print replaced by what raises, hangs and lies",
        code="""
import builtins
class Bad:
    def __getattr__(self, name): raise SystemExit(name)
sys.stdout = sys.stderr = sys.__stdout__ = sys.__stderr__ = Bad()
builtins.print = builtins.repr = builtins.open = builtins.len = None""",
        statuses=ANY,
        alone=True,
        after="goes_on",
    ),
    Attack(
        name="late output",
        tries="a child that prints after the call is over",
        code="""
if os.fork() == 0:
    time.sleep(0.3); os.write(1, b'L' * 200_000); os._exit(0)
print('now')""",
        statuses=(OK,),
        alone=True,
        after="goes_on",
    ),
    Attack(
        name="endless between calls",
        tries="a child that writes for ever after the call is over",
        code="""
if os.fork() == 0:
    while True: quietly(lambda: os.write(1, b'x' * 65536))
print('now', flush=True)""",
        statuses=(OK, OUTPUT),
        alone=True,
        after="ends_or_goes_on",
        dangerous=True,
    ),
    Attack(
        name="standard output held open",
        tries="a daemon that keeps the pipes while the cell's process ends",
        code="""
if os.fork() == 0:
    os.setsid()
    if os.fork(): os._exit(0)
    time.sleep(30); os._exit(0)
os._exit(0)""",
        statuses=(Status.DIED,),
        alone=True,
        after="goes_on",
        dangerous=True,
    ),
    Attack(
        name="an exception without end",
        tries="an exception whose text is 50 MB, with 10,000 causes, whose __str__ raises",
        code="""
class E(Exception):
    def __str__(self): raise SystemExit
try: raise E
except E as e: kept = e
error = ValueError('x' * 20_000_000); error.__cause__ = kept; error.add_note('y' * 1_000_000)
raise error""",
        statuses=(Status.ERROR, Status.MEMORY, OUTPUT, Status.DIED),
        after="ends_or_goes_on",
        alone=True,
    ),
)
