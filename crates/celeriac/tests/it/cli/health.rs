//! How a worker says how it is, to whoever runs it.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use celeriac_testkit::peers::{RedisServer, http_get};

use super::{PATIENCE, Shop, Worker, until, until_exists};

/// The page that says what all is.
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/health.md");

/// A worker that serves HTTP, and where.
fn watched(shop: &Shop, words: &[&str]) -> (Worker, String) {
    let words = [&["--http", "127.0.0.1:0"], words].concat();
    let worker = shop.worker(&words);
    let address = address(&worker);
    (worker, address)
}

fn address(worker: &Worker) -> String {
    let log = worker.log();
    let (_, rest) = log.split_once("health is served at http://").unwrap();
    rest.split_whitespace().next().unwrap().to_owned()
}

fn status(address: &str, path: &str) -> u16 {
    http_get(address, path).0
}

/// The value of a sample, as it stands on the page.
fn sample(address: &str, name: &str) -> Option<String> {
    let (status, page) = http_get(address, "/metrics");
    assert_eq!(status, 200);
    let mut lines = page.lines();
    let found = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    found.map(str::to_owned)
}

fn until_sample(address: &str, name: &str, value: &str) {
    until(&format!("{name} is {value}"), || {
        (sample(address, name).as_deref() == Some(value)).then_some(())
    });
}

#[test]
fn what_calls_came_to_is_on_the_page() {
    let shop = Shop::new();
    let (_worker, address) = watched(&shop, &[]);
    shop.done(&["send", "add", "1", "2", "--wait"]);
    shop.done(&["send", "add", "3", "4", "--wait"]);
    assert_eq!(shop.run(&["send", "fail", "no", "--wait"]).code, 5);
    // A name from outside gets no series of its own.
    shop.done(&["send", "made.up", "--unchecked"]);

    let add = "{task=\"add\",queue=\"celery\"}";
    until_sample(
        &address,
        &format!("celeriac_tasks_succeeded_total{add}"),
        "2",
    );
    let other = "{task=\"other\",queue=\"other\"}";
    until_sample(
        &address,
        &format!("celeriac_tasks_failed_total{other}"),
        "1",
    );
    let fail = "{task=\"fail\",queue=\"celery\"}";
    for (name, value) in [
        (format!("celeriac_tasks_received_total{add}"), "2"),
        (format!("celeriac_tasks_started_total{add}"), "2"),
        (format!("celeriac_tasks_received_total{fail}"), "2"),
        (format!("celeriac_tasks_retried_total{fail}"), "1"),
        (format!("celeriac_tasks_failed_total{fail}"), "1"),
        (format!("celeriac_task_runtime_seconds_count{add}"), "2"),
        (format!("celeriac_task_wait_seconds_count{add}"), "2"),
        ("celeriac_pool_slots".to_owned(), "1"),
        ("celeriac_ready".to_owned(), "1"),
        ("celeriac_leases_held".to_owned(), "0"),
    ] {
        assert_eq!(sample(&address, &name).as_deref(), Some(value), "{name}");
    }
    let (_, page) = http_get(&address, "/metrics");
    assert!(!page.contains("made.up"), "{page}");
    // The depths may be a few seconds old.
    let dead = "celeriac_queue_messages{queue=\"celery\",state=\"dead\"}";
    until_sample(&address, dead, "2");
}

#[test]
fn the_page_of_metrics_is_the_one_that_is_documented() {
    let shop = Shop::new();
    let (_worker, address) = watched(&shop, &[]);
    let (_, page) = http_get(&address, "/metrics");
    let mut served: Vec<_> = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .map(str::to_owned)
        .collect();
    let documented = fs::read_to_string(PAGE).unwrap();
    let mut documented: Vec<_> = documented
        .lines()
        .filter_map(|line| line.strip_prefix("| `celeriac_"))
        .map(|line| {
            let (name, rest) = line.split_once('`').unwrap();
            let sort = rest.split('|').nth(1).unwrap().trim();
            format!("celeriac_{name} {sort}")
        })
        .collect();
    served.sort();
    documented.sort();
    assert_eq!(served, documented);
}

#[test]
fn while_it_stops_a_worker_is_alive_and_not_ready() {
    let shop = Shop::new();
    shop.done(&["send", "shop.nap", "60000", "begun"]);
    let (worker, address) = watched(&shop, &["--health-file", "alive"]);
    until_exists(&shop.path("begun"));
    until_exists(&shop.path("alive"));
    assert_eq!(
        (status(&address, "/livez"), status(&address, "/readyz")),
        (200, 200)
    );
    until_sample(&address, "celeriac_pool_running", "1");
    assert_eq!(
        sample(&address, "celeriac_pool_saturation_ratio").unwrap(),
        "1"
    );
    worker.signal("TERM");
    until("it is not ready", || {
        (http_get(&address, "/readyz") == (503, "the worker is stopping\n".to_owned()))
            .then_some(())
    });
    assert_eq!(status(&address, "/livez"), 200);
    assert!(shop.path("alive").exists());
    worker.signal("QUIT");
    worker.ended();
    assert!(!shop.path("alive").exists());
}

#[test]
fn the_health_file_is_touched_again_and_again() {
    let shop = Shop::new();
    let path = shop.path("alive");
    // One that a worker left behind which was killed.
    fs::write(&path, "").unwrap();
    let _worker = shop.worker(&["--health-file", "alive"]);
    until_exists(&path);
    let modified = || fs::metadata(&path).and_then(|it| it.modified()).ok();
    let first = modified();
    until("it is touched again", || (modified() > first).then_some(()));
}

#[test]
fn a_worker_whose_broker_is_away_is_alive_and_ready_again_once_it_is_back() {
    let shop = Shop::new();
    let mut server = RedisServer::start();
    let url = server.url();
    let (_worker, address) = watched(&shop, &["-b", &url]);
    until("it is ready", || {
        (status(&address, "/readyz") == 200).then_some(())
    });
    server.ask(&["SHUTDOWN", "NOSAVE"]);
    until("it is not ready", || {
        (status(&address, "/readyz") == 503).then_some(())
    });
    assert_eq!(status(&address, "/livez"), 200);
    assert_eq!(sample(&address, "celeriac_ready").unwrap(), "0");
    server.restart(&[]);
    // Nothing is in its queues, so no delivery says that it works again.
    until("it is ready again", || {
        (status(&address, "/readyz") == 200).then_some(())
    });
    let reconnects = || sample(&address, "celeriac_broker_reconnects_total").unwrap();
    until("that was counted", || (reconnects() != "0").then_some(()));
    assert_eq!(
        shop.done(&["send", "add", "1", "2", "--wait", "-b", &url]),
        "3"
    );
}

#[test]
fn clients_that_are_slow_or_ask_nonsense_keep_nobody_from_an_answer() {
    let shop = Shop::new();
    let (_worker, address) = watched(&shop, &[]);
    let mut slow = Vec::new();
    for _ in 0..200 {
        let mut stream = TcpStream::connect(&address).unwrap();
        // It may have given way to later ones already.
        let _ = stream.write_all(b"GET /metrics HT");
        slow.push(stream);
    }
    let begun = Instant::now();
    assert_eq!(status(&address, "/livez"), 200);
    assert!(
        begun.elapsed() < Duration::from_secs(4),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(status(&address, "/"), 404);
    assert_eq!(status(&address, "/metrics?x=1"), 200);
    let long = format!("/{}", "x".repeat(100_000));
    assert!([0, 400, 404, 414, 431].contains(&status(&address, &long)));
    let mut post = TcpStream::connect(&address).unwrap();
    let request = b"POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n";
    post.write_all(request).unwrap();
    let mut answer = String::new();
    // Reset, because it is not read to its end, or closed.
    let _ = std::io::Read::read_to_string(&mut post, &mut answer);
    assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
    assert_eq!(shop.done(&["send", "add", "1", "2", "--wait"]), "3");
    assert_eq!(status(&address, "/readyz"), 200);
}

#[test]
fn an_address_that_is_taken_is_told_before_anything_else() {
    let shop = Shop::new();
    let (_worker, address) = watched(&shop, &[]);
    let ran = shop.run(&["worker", "--http", &address]);
    assert_eq!(ran.code, 3, "{}", ran.err);
    assert!(
        ran.err.contains(&format!("cannot listen on {address}")),
        "{}",
        ran.err
    );
    let ran = shop.run(&["worker", "--health-file", "no/such/folder"]);
    assert_eq!(ran.code, 3, "{}", ran.err);
}

#[test]
fn systemd_is_told_that_it_is_ready_alive_and_stopping() {
    let shop = Shop::new();
    let path = shop.path("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let hear = |word: &str| {
        let mut bytes = [0; 256];
        loop {
            let count = socket.recv(&mut bytes).unwrap();
            if bytes[..count].starts_with(word.as_bytes()) {
                return;
            }
        }
    };
    let log = shop.path("worker.log");
    let child = shop
        .command(&["worker", "-P", "threads=1"])
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "300000")
        .stderr(fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let worker = Worker { child, log };
    hear("READY=1\n");
    hear("WATCHDOG=1");
    hear("WATCHDOG=1");
    worker.signal("TERM");
    hear("STOPPING=1\n");
    worker.ended();
}
