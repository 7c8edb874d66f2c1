//! Garbage where events are told: whoever listens goes on, and so does whoever waits for a result.

use celeriac_testkit::peers::unique;

use crate::support::{On, Project};
use crate::top::Terminal;

fn nobody_minds(on: On) {
    let project = Project::new("operated", on);
    let (broker, queue) = (project.broker(), project.queue());
    let node = format!("{}@here", unique("w"));
    let _worker = project.worker(&format!("-n {node} -E -c 2"));
    let mut events = project.start(&format!("-b {broker} events"));
    events.wait_for_line(&node);
    let mut top = Terminal::start(&project, &format!("-b {broker} top --interval 300ms"));
    top.until_line(&[&node, "0/2"]);
    let results = match broker.split_once("global_keyprefix=") {
        Some((_, prefix)) => format!("{broker}&result_keyprefix={prefix}"),
        None => broker.clone(),
    };
    let words = format!("-b {results} send proj.nap 600 --unchecked --queue {queue} --wait");
    let mut waiter = project.start(&words);
    top.until_line(&[&node, "1/2"]);

    let sum = project.run(include_str!("noise.py"));
    assert_eq!(sum, 42);
    events.wait_for_line("name=proj.add");
    assert!(!events.printed().contains('\u{1b}'));
    top.press("4");
    top.until_line(&["proj.add", "succeeded"]);
    let running =
        format!("answer = app.control.inspect([{node:?}], timeout=30).active()[{node:?}][0]['id']");
    let running = project.run(&running);
    assert_eq!((events.ended(), waiter.ended()), (None, None));
    project.run(&format!(
        "app.control.revoke({running}, terminate=True)\nanswer = 0"
    ));
    assert_eq!(waiter.wait().code(), Some(5));
    top.press("q");
    top.ends();
    assert_eq!(events.ended(), None);
}

#[test]
fn garbage_among_events_ends_no_listener_on_redis() {
    nobody_minds(On::Redis);
}

#[test]
fn garbage_among_events_ends_no_listener_on_rabbitmq() {
    nobody_minds(On::RabbitMqRpc);
}
