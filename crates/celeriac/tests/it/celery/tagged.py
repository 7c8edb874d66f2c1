# Sends values that JSON has no form for, and tells whether they came back as what they were.
from decimal import Decimal


def ask(name, *arguments):
    return send(name, *arguments, queue="to_rust")


def types(values):
    return [type(value).__name__ for value in values]


due = [datetime.date(2030, 1, 2), datetime.time(3, 4, 5, 678000), Decimal("1.50")]
at = datetime.datetime(2030, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)
same = ask("rust.same", *due)
later = ask("rust.later", at, b"\xff\x00\x01")
digits = ask("rust.digits", Decimal("1.50"), [Decimal("2"), Decimal("0.1")])
print("SENT", flush=True)

same, later = same.get(timeout=40), later.get(timeout=40)
hour = datetime.timedelta(hours=1)
answer = {
    "same": types(same) + [same == due],
    "later": types(later) + [later == [at + hour, b"\x01\x00\xff"]],
    "digits": digits.get(timeout=40),
}
