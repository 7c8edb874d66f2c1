# What a person does with Flower in a browser. What comes before says URL, FIXED and SCALED, two workers.
import atexit
import os
import tempfile
import time

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

QUEUE, MORE = os.environ["QUEUE"], os.environ["QUEUE"] + "-more"
FLAGS = """--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --disable-quic --no-first-run
--disable-background-networking --disable-component-update --disable-sync --window-size=1400,1000"""
TABS = "pool broker queues tasks limits config system".split()

profile = tempfile.TemporaryDirectory()
options = webdriver.ChromeOptions()
options.binary_location = os.environ["CELERIAC_TEST_CHROMIUM"]
for flag in [*FLAGS.split(), f"--user-data-dir={profile.name}"]:
    options.add_argument(flag)
options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
atexit.register(profile.cleanup)
browser = webdriver.Chrome(options, Service(os.environ["CELERIAC_TEST_CHROMEDRIVER"]))
atexit.register(browser.quit)
asks = {node: app.control.inspect([node], timeout=30) for node in (FIXED, SCALED)}
complaints, elsewhere = [], set()


def until(what, holds):
    """What comes to hold, which has to be within a minute."""
    end = time.monotonic() + 60
    while True:
        try:
            if held := holds():
                return held
        except StaleElementReferenceException:
            pass
        assert time.monotonic() < end, f"waited in vain until {what}: {text('body')}"
        time.sleep(0.05)


def listen():
    """Notes what the page has complained of, and what it has loaded from other servers."""
    complaints.extend(f"{entry['level']} {entry['message']}" for entry in browser.get_log("browser"))
    loaded = browser.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    elsewhere.update(name for name in loaded if not name.startswith((URL, "data:")))


def visit(path):
    listen()
    browser.get(URL + path)


def all_of(selector):
    return browser.find_elements(By.CSS_SELECTOR, selector)


def text(selector):
    return "\n".join(element.get_property("textContent") for element in all_of(selector))


def one(selector):
    """What can be seen and clicked."""
    return until(f"there is {selector}", lambda: next((it for it in all_of(selector) if it.is_displayed()), None))


def shown(path, *wanted):
    """Whether a page comes to show all of these in its body, loaded again meanwhile or not."""
    visit(path)
    until(f"{path} shows {wanted}", lambda: all(words in text("main") for words in wanted))
    return True


def row(table, first):
    """The other cells of the row of a table that begins with a cell of this text."""
    for line in all_of(f"{table} tr"):
        cells = [cell.get_property("textContent").strip() for cell in line.find_elements(By.TAG_NAME, "td")]
        if cells and cells[0] == first:
            return cells[1:]
    return None


def opened(node, tab):
    """The page of a worker, at a tab."""
    visit(f"/worker/{node}")
    one(f"#worker-tab-{tab}").click()
    return one(f"#tab-{tab}")


def comes(node, tab, holds):
    """Whether something comes to hold on a tab of a worker's page, which shows what was there when it was asked for."""
    def holds_now():
        opened(node, tab)
        return holds()
    return bool(until(f"the tab {tab} shows it", holds_now))


def told():
    """What the page says of an action, and whether that is good; it is then put away."""
    toast = one(".toast.show")
    good, said = "text-bg-success" in toast.get_attribute("class"), toast.text.strip()
    one(".toast .btn-close").click()
    until("nothing is said", lambda: not all_of(".toast"))
    return [good, said.replace(FIXED, "NODE").replace(SCALED, "NODE").replace(QUEUE, "QUEUE")]


def press(selector):
    one(selector).click()
    return told()


def fill(selector, value):
    field = one(selector)
    field.clear()
    field.send_keys(str(value))


def chosen(action):
    """What comes of an entry of the menu."""
    one("#worker-group").click()
    return press(f"#worker-{action}")


def by_id(prefix, task):
    return f'[id^="{prefix}-{task}"]'


def limited(task, sort, value):
    """What comes of a limit of a task: it is typed beside the button."""
    button = one(by_id({"rate": "task-rate-limit"}.get(sort, f"task-timeout-{sort}"), task))
    field = button.find_element(By.XPATH, "./preceding-sibling::input")
    field.clear()
    field.send_keys(str(value))
    button.click()
    return told()


def slots(node):
    return asks[node].stats()[node]["pool"]["max-concurrency"]


def sees(call, state):
    """Waits until the page of a call shows this state."""
    visit(f"/task/{call.id}")

    def has():
        if text("main .badge").strip() == state:
            return True
        browser.refresh()
    until(f"the call is {state}", has)


def error_of(call):
    try:
        return call.get(timeout=60)
    except Exception as error:
        return type(error).__name__


answer = {}
until("both are known", lambda: visit("/workers?refresh=1") or (row("#workers-table", FIXED) and row("#workers-table", SCALED)))
sums, boom = add.delay(2, 3), fail.delay("boom")
assert sums.get(timeout=60) == 5 and error_of(boom) == "ValueError"

# What is shown.
print("PAGES", flush=True)
visit("/")
until("both are online", lambda: text("#workers-online") == "2")
until("a call has succeeded", lambda: text("#workers-succeeded") == "1" and text("#workers-failed") == "1")
tabs = {tab: opened(FIXED, tab).text for tab in TABS}
answer["tabs"] = {
    "pool": "oncurrency" in tabs["pool"] and "2" in tabs["pool"],
    "broker": "ransport" in tabs["broker"],
    "queues": QUEUE in tabs["queues"],
    "tasks": "rocessed tasks" in tabs["tasks"],
    "limits": "proj.nap [rate_limit=10/s]" in tabs["limits"],
    "config": "task_default_queue" in tabs["config"],
    "system": "utime" in tabs["system"],
}
visit("/tasks")
until("both calls are listed", lambda: all(call.id in text("#tasks-table") for call in (sums, boom)))
one('[data-task-state="FAILURE"]').click()
until("one call is listed", lambda: boom.id in text("#tasks-table") and sums.id not in text("#tasks-table"))
one(f'a[href="/task/{boom.id}"]').click()
until("the call is shown", lambda: "ValueError" in text("main") and "Traceback" in text("main"))
sees(sums, "SUCCESS")
answer["task"] = ["proj.add" in text("main"), "(2, 3)" in text("main"), FIXED in text("main") or SCALED in text("main")]
answer["broker"] = shown("/broker", QUEUE if ON_REDIS else "No queue data")

# What is done to a pool.
print("POOLS", flush=True)
opened(FIXED, "pool")
fill("#pool-size", 2)
answer["grow"] = press("#worker-pool-grow")
answer["grown"] = [slots(FIXED), comes(FIXED, "pool", lambda: row("#tab-pool", "Max concurrency") == ["4"])]
fill("#pool-size", 2)
answer["shrink"] = press("#worker-pool-shrink")
answer["shrunk"] = slots(FIXED)
opened(SCALED, "pool")
fill("#min-autoscale", 1)
fill("#max-autoscale", 2)
answer["autoscale"] = press("#worker-pool-autoscale")
answer["autoscaled"] = slots(SCALED)

# What is done to queues: of the one that is added only this worker takes.
print("QUEUES", flush=True)
opened(FIXED, "queues")
fill("#add-consumer-name", MORE)
answer["add"] = press("#worker-add-consumer")
answer["added"] = [comes(FIXED, "queues", lambda: row("#worker-queues", MORE)), add.apply_async((1, 1), queue=MORE).get(timeout=60)]

# What is done to a pool's children.
before = pid.apply_async(queue=MORE).get(timeout=60)
opened(FIXED, "pool")
answer["restart"] = chosen("pool-restart")
answer["restarted"] = bool(until("it is another child", lambda: pid.apply_async(queue=MORE).get(timeout=60) != before))
answer["refresh"] = [chosen("refresh"), chosen("refresh-all")]

# What is done to tasks.
print("TASKS", flush=True)
opened(FIXED, "limits")
answer["limits"] = [limited("proj.add", "rate", 7), limited("proj.nap", "hard", 400), limited("proj.nap", "soft", 1)]
answer["limited"] = [
    comes(FIXED, "limits", lambda: "proj.add [rate_limit=7/s]" in text("#limits-table")),
    error_of(nap.apply_async((300,), queue=MORE)),
]
opened(FIXED, "limits")
answer["unlimited"] = limited("proj.nap", "soft", 400)

# What is done to calls.
print("CALLS", flush=True)
naps = [nap.apply_async((300,), queue=MORE) for _ in range(2)]
until("both run", lambda: len(asks[FIXED].active()[FIXED]) == 2)
waiting = nap.apply_async((300,), queue=MORE)
until("the third waits", lambda: [call["id"] for call in asks[FIXED].reserved()[FIXED]] == [waiting.id])
sees(waiting, "RECEIVED")
answer["revoke"] = press("#task-revoke")[0]
sees(naps[0], "STARTED")
answer["terminate"] = [press("#task-terminate")[0]]
answer["ended"] = [error_of(naps[0]), error_of(waiting)]
sees(naps[0], "REVOKED")
answer["shown in tasks"] = comes(FIXED, "tasks", lambda: naps[1].id in text("#tab-tasks") and waiting.id in text("#tab-tasks"))
sees(naps[1], "STARTED")
answer["terminate"].append(press("#task-terminate")[0])
answer["ended"].append(error_of(naps[1]))

# A worker that no longer takes from a queue, and two that end.
print("ENDS", flush=True)
opened(FIXED, "queues")
answer["cancel"] = press(f'[id="worker-cancel-consumer-{MORE}"]')
answer["cancelled"] = comes(FIXED, "queues", lambda: row("#worker-queues", QUEUE) and not row("#worker-queues", MORE))
answer["shutdown"] = []
for node in (FIXED, SCALED):
    opened(node, "pool")
    answer["shutdown"].append(chosen("shutdown"))
visit("/")
until("both are offline", lambda: text("#workers-table .badge") == "Offline\nOffline")
listen()
answer["complaints"], answer["elsewhere"] = complaints, sorted(elsewhere)
