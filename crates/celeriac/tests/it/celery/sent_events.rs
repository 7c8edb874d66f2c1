//! Monitors are told what a client in Rust sends as they are told by one in Python.

use std::collections::BTreeMap;

use celeriac::App;
use celeriac_core::{Listener, Topic};
use celeriac_wire::event;
use serde_json::{Map, Value, json};

use super::fleet::Fleet;
use super::in_fleets;
use super::tasks::py;

in_fleets! { what_is_sent_is_told:
    sent_events_redis_celery_5_7 = Redis, V57;
    sent_events_amqp_celery_5_7 = Amqp, V57;
}

async fn what_is_sent_is_told(fleet: &Fleet) {
    let bus = fleet.app.broker().unwrap().bus().unwrap();
    let mut monitor = bus.listen(Topic::Events).await.unwrap();

    let telling = App::builder().sent_events(true);
    let telling = telling.on(fleet.app.place().clone()).await.unwrap();
    let handle = telling.send(py::add::call(2, 3).queue("nobody"));
    let id = handle.await.unwrap().id().clone();
    let ours = next(&mut *monitor).await.remove(0);
    assert_eq!(ours["uuid"], json!(id));

    let theirs = fleet.python.run(
        "app.conf.task_send_sent_event = True\n\
         answer = app.send_task('py.add', (2, 3), queue='nobody').id\n",
    );
    let python = next(&mut *monitor).await.remove(0);
    assert_eq!(python["uuid"], theirs);
    assert_eq!(shape(&ours), shape(&python));
    let same = "args eta exchange expires kwargs name parent_id queue retries routing_key type";
    for field in same.split(' ') {
        assert_eq!(ours[field], python[field], "{field}");
    }

    let calls = (0..3).map(|number| py::add::call(number, 1).queue("nobody"));
    telling.send_many(calls).await.unwrap();
    let told = next(&mut *monitor).await;
    assert_eq!(told.len(), 3, "they come in one message");
    // One that does not tell says nothing, as the next that tells does.
    let silent = fleet.app.send(py::add::call(9, 9).queue("nobody"));
    silent.await.unwrap();
    let last = telling.send(py::add::call(1, 1).queue("nobody"));
    let last = last.await.unwrap().id().clone();
    assert_eq!(next(&mut *monitor).await[0]["uuid"], json!(last));
}

/// The events of the next message.
async fn next(monitor: &mut dyn Listener) -> Vec<Map<String, Value>> {
    let notice = monitor.next().await.unwrap();
    event::read(&notice.body).unwrap()
}

/// The kind of each value.
fn shape(event: &Map<String, Value>) -> BTreeMap<&str, std::mem::Discriminant<Value>> {
    let kinds = event.iter();
    kinds
        .map(|(name, value)| (name.as_str(), std::mem::discriminant(value)))
        .collect()
}
