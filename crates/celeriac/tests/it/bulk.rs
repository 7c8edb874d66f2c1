//! Many calls sent together over a line that is cut meanwhile: what the broker has is sent once, and
//! what it may have is named.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroUsize;
use std::sync::Mutex;

use celeriac::core::Broker;
use celeriac::core::broker::Subscription;
use celeriac::{App, Error, ErrorKind, TaskId};
use celeriac_testkit::peers::{Fault, TcpProxy, VirtualHost, redis_url, unique};

use crate::support::in_time;

/// How many calls: more batches than are under way at a time.
const CALLS: u64 = 20_000;

/// `basic.ack`, with which RabbitMQ confirms.
const CONFIRMED: &[u8] = &[0, 60, 0, 80];

#[celeriac::task(name = "bulk.note")]
fn note(n: u64) -> u64 {
    *RUNS.lock().unwrap().entry(n).or_default() += 1;
    n
}

/// How often each call of the map ran.
static RUNS: Mutex<std::collections::BTreeMap<u64, u32>> =
    Mutex::new(std::collections::BTreeMap::new());

#[test]
fn a_bulk_that_is_cut_on_redis_says_what_was_sent() {
    celeriac_testkit::block_on(async {
        let url = redis_url();
        // Whoever writes when the line is cut may hear of that before the answer to what was sent.
        for _ in 0..20 {
            let prefix = unique("bulk");
            let options = format!("?global_keyprefix={prefix}&result_keyprefix={prefix}");
            let (proxy, through) = TcpProxy::before_url(&url).await.unwrap();
            let app = App::on(format!("{through}{options}")).await.unwrap();
            // How long the list is once it has the first batch.
            proxy.strike_after_reply(b":4000\r\n", Fault::Refuse);
            if in_time(says_what_was_sent(&app, &format!("{url}{options}"))).await > 0 {
                return;
            }
        }
        panic!("no answer ever came before the cut");
    });
}

#[test]
fn a_bulk_that_is_cut_on_amqp_says_what_was_sent() {
    celeriac_testkit::block_on(async {
        let host = VirtualHost::create();
        let (proxy, through) = TcpProxy::before_url(&host.url()).await.unwrap();
        let app = App::on(through).await.unwrap();
        proxy.strike_after_reply(CONFIRMED, Fault::Refuse);
        assert!(in_time(says_what_was_sent(&app, &host.url())).await > 0);
    });
}

/// Sends all over a line that is cut, and gives how many it is sure of.
async fn says_what_was_sent(app: &App, direct: &str) -> usize {
    let ids: Vec<TaskId> = (0..CALLS).map(|_| TaskId::new()).collect();
    let calls = (0..).zip(&ids).map(|(n, id)| note::call(n).id(id));
    let error = app.send_many(calls).await.unwrap_err();
    assert_eq!(
        celeriac::report::Report::exit_status(&error),
        celeriac::report::ExitStatus::StoreUnavailable
    );
    let Error::PartlySent {
        sent, unconfirmed, ..
    } = error
    else {
        panic!("{error:?}");
    };
    assert!(!unconfirmed.is_empty());

    let other = App::on(direct).await.unwrap();
    let last = other.send(note::call(CALLS)).await.unwrap();
    let mut stored = ids_up_to(&**other.broker().unwrap(), last.id()).await;
    for id in &sent {
        assert_eq!(stored.remove(id), Some(1), "{id}");
    }
    let unconfirmed: HashSet<TaskId> = unconfirmed.into_iter().collect();
    for (id, count) in stored {
        assert!(count == 1 && unconfirmed.contains(&id), "{id}: {count}");
    }
    let sent: HashSet<TaskId> = sent.into_iter().collect();
    assert!(sent.is_disjoint(&unconfirmed));
    let known: HashSet<&TaskId> = ids.iter().collect();
    assert!(sent.union(&unconfirmed).all(|id| known.contains(id)));
    sent.len()
}

/// How often each call is in the default queue, up to the last one.
async fn ids_up_to(broker: &dyn Broker, last: &TaskId) -> HashMap<TaskId, u32> {
    let subscription = Subscription::new("counter", vec!["celery".parse().unwrap()]);
    let consumer = broker.consume(subscription).await.unwrap();
    let mut found = HashMap::new();
    loop {
        let credit = NonZeroUsize::new(1000).unwrap();
        for delivery in consumer.receive(credit).await.unwrap() {
            let id = delivery.message.headers.id;
            if id == *last {
                return found;
            }
            *found.entry(id).or_default() += 1;
        }
    }
}

#[test]
fn a_map_that_is_cut_on_amqp_runs_once_what_it_was_told_of() {
    celeriac_testkit::block_on(async {
        let host = VirtualHost::create();
        let (proxy, through) = TcpProxy::before_url(&host.url()).await.unwrap();
        let app = App::on(through).await.unwrap();
        let workers = App::on(host.url()).await.unwrap();
        let worker = workers.start_worker("threads=1").await.unwrap();
        proxy.strike_after_reply(CONFIRMED, Fault::Cut);
        let mut good = Vec::new();
        let inputs = 0..3000;
        let mut outcomes = app.map::<note>(inputs.clone());
        for n in inputs {
            match in_time(outcomes.next()).await.unwrap() {
                Ok(value) => {
                    assert_eq!(value, n);
                    good.push(n);
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}"),
            }
        }
        in_time(proxy.struck()).await;
        worker.stop().await.unwrap();
        let runs = RUNS.lock().unwrap();
        assert!(!good.is_empty());
        for n in good {
            assert_eq!(runs[&n], 1, "{n}");
        }
        assert!(runs.values().all(|count| *count == 1));
    });
}
