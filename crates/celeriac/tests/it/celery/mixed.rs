//! Workers in both languages on one queue, with clients in both.

use std::collections::{BTreeMap, BTreeSet};

use super::fleet::Fleet;
use super::in_fleets;
use super::tasks::whereabouts;

const QUEUE: &str = "to_both";

const CALLS: u64 = 200;

in_fleets! { workers_of_both_languages_share_a_queue:
    redis_celery_5_7 = Redis, V57;
    redis_celery_5_4 = Redis, V54;
    amqp_celery_5_7 = Amqp, V57;
}

async fn workers_of_both_languages_share_a_queue(fleet: &Fleet) {
    let _python = fleet.python.worker(&["-Q", QUEUE]);
    let _rust = fleet.rust_worker(QUEUE, 2).await;

    let script = format!(
        "calls = [send('shared.where', n, queue={QUEUE:?}) for n in range({CALLS})]\n\
         answer = [call.get(timeout=30) for call in calls]\n"
    );
    let script = fleet.python.script(&script);
    let calls = (CALLS..2 * CALLS).map(|n| whereabouts::call(n).queue(QUEUE));
    let mut answers = Vec::new();
    for mut call in fleet.app.send_many(calls).await.unwrap() {
        answers.push(call.get().await.unwrap());
    }
    answers.extend(serde_json::from_value::<Vec<(String, u64)>>(script.answer()).unwrap());

    let mut by_language = BTreeMap::<_, u64>::new();
    let mut numbers = BTreeSet::new();
    for (language, number) in answers {
        *by_language.entry(language).or_default() += 1;
        assert!(numbers.insert(number), "{number} came twice");
    }
    assert_eq!(numbers, (0..2 * CALLS).collect());
    // How they share depends on how fast each is here and now, but both took part.
    assert_eq!(by_language.len(), 2, "{by_language:?}");
}
