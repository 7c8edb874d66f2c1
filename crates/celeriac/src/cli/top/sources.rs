//! Where news come from: what is asked every few seconds, and what is told.

use std::time::Duration;

use celeriac_core::Topic;
use celeriac_wire::control::Request;
use celeriac_wire::event;
use tokio::sync::mpsc::Sender;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::Site;
use super::fleet::News;
use crate::cli::remote::ask;

/// How long answers are waited for.
const ANSWER: Duration = Duration::from_secs(1);
/// The most dead messages that are shown, the newest.
const DEAD: usize = 100;
/// How long to wait before listening is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// Asks the broker and the workers, until nobody wants to know any more.
pub(super) async fn poll(site: Site, every: Duration, tell: Sender<News>) {
    let mut ticks = interval(every.max(Duration::from_millis(100)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let broker = &site.broker;
        let (queues, dead) = tokio::join!(broker.queues(), broker.dead(DEAD));
        let mut news = vec![queues.map(News::Queues), dead.map(News::Dead)];
        if let Some(bus) = &site.bus {
            let ask = |method: &str| ask(&**bus, Request::new(method), ANSWER, None);
            let (stats, active, queues) =
                tokio::join!(ask("stats"), ask("active"), ask("active_queues"));
            news.extend([
                stats.map(News::Stats),
                active.map(News::Active),
                queues.map(News::ActiveQueues),
            ]);
        } else {
            news.push(broker.consumers().await.map(News::Consumers));
        }
        for one in news {
            let one = one.unwrap_or_else(|error| News::Said(error.to_string()));
            if tell.send(one).await.is_err() {
                return;
            }
        }
    }
}

/// Listens to events, until nobody wants to know any more.
pub(super) async fn listen(site: Site, tell: Sender<News>) {
    let Some(bus) = &site.bus else { return };
    let mut missed = 0;
    while !tell.is_closed() {
        let Ok(mut heard) = bus.listen(Topic::Events).await else {
            sleep(AGAIN).await;
            continue;
        };
        while let Ok(notice) = heard.next().await {
            let events = event::read(&notice.body).unwrap_or_default();
            for news in events.into_iter().map(News::Event) {
                if tell.send(news).await.is_err() {
                    return;
                }
            }
            if heard.missed() > missed {
                missed = heard.missed();
                let _ = tell.send(News::Missed(missed)).await;
            }
        }
        sleep(AGAIN).await;
    }
}
