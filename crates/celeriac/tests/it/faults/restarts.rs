//! A broker that is started again: workers hear and are heard as before, and their names are theirs.

use std::time::Duration;

use celeriac_testkit::block_on;
use celeriac_testkit::peers::{RedisServer, SpareRabbitMq, unique};

use super::ground::{Ground, Kind};
use super::operator::Operator;

/// How soon a worker answers once its broker does: longer than it waits between two tries, and the rest
/// is the machine's.
const RECOVERED: Duration = Duration::from_secs(5 + 10);

/// What is said of a worker to which `restart` happens.
async fn heard_again(ground: Ground, restart: impl FnOnce()) {
    let node = format!("{}@here", unique("again"));
    let worker = ground.worker_with(&ground.url, &["-P", "threads=2", "-n", &node]);
    worker.wait_for_line("worker is ready");
    let operator = Operator::at(&ground.url);
    operator.until_answered(&node);
    let mut watcher = operator.watch();
    watcher.wait_for_line(&node);
    restart();
    // What it told before is no sign.
    watcher.pass_over();
    let took = operator.until_answered(&node);
    assert!(took < RECOVERED, "it took {took:?}");
    watcher.wait_for_line(&node);
    assert_eq!(watcher.ended(), None);
    ground.canary().await;
    // It does not take itself, before and after, for two.
    assert!(!worker.printed().contains("same name"));
    let answers = operator.ask("inspect ping -t 1s");
    assert_eq!(answers.as_object().unwrap().len(), 1, "{answers}");
}

#[test]
fn a_worker_is_heard_again_after_redis_was_restarted() {
    block_on(async {
        let mut server = RedisServer::start();
        let ground = Ground::at(Kind::Redis, server.url()).await;
        heard_again(ground, || server.restart(&[])).await;
    });
}

#[test]
fn a_worker_is_heard_again_after_rabbitmq_was_restarted() {
    block_on(async {
        let server = SpareRabbitMq::take();
        let ground = Ground::at(Kind::Amqp, server.url()).await;
        let restart = || {
            server.control(&["stop_app"]);
            server.control(&["start_app"]);
        };
        heard_again(ground, restart).await;
    });
}
