//! A task that takes longer than the visibility timeout of the Python workers on its queue.

use std::time::Duration;

use celeriac::App;
use celeriac_testkit::peers::{CeleryApp, CeleryVersion};

use super::ledger::Ledger;
use super::{Counts, Result, runtime};
use crate::tasks::mark_slowly;
use crate::worker::Worker;

/// Ten times the visibility timeout of the others.
const TAKES: Duration = Duration::from_secs(30);

/// How long anything else may take.
const LIMIT: Duration = Duration::from_secs(60);

/// The number of the task that is ours; the other one was left behind by nobody.
const OURS: u32 = 0;
const STALE: u32 = 1;

/// They give back what was taken for longer than 3 s, and look for that whenever they may: every
/// 10 s. Their task writes down that it ran, as ours does.
const PEER: &str = "
app.conf.broker_transport_options = {'visibility_timeout': 3, 'unacked_restore_throttle': 1}

@app.task(name='bench.mark_slowly', acks_late=True)
def mark_slowly(file, number, ms):
    with open(file, 'a') as ledger:
        ledger.write(f'{number}\\n')
";

/// Makes a message look like one whose worker died long ago.
const LEAVE_BEHIND: &str = "
import redis, time
mark_slowly.apply_async((FILE, 1, 0), queue='aside')
store = redis.Redis.from_url(app.conf.broker_url)
text = store.rpop('aside').decode()
tag = json.loads(text)['properties']['delivery_tag']
store.hset('unacked', tag, json.dumps([json.loads(text), '', 'celery']))
store.zadd('unacked_index', {tag: time.time() - 100})
answer = tag
";

/// Has one long task run beside them.
pub(super) fn run(url: &str) -> Result<Counts> {
    runtime()?.block_on(outlast(url))
}

async fn outlast(url: &str) -> Result<Counts> {
    let ledger = Ledger::new()?;
    let file = ledger.file();
    let app = App::on(url).await?;
    let python = CeleryApp::new(CeleryVersion::V57, url, url, PEER);
    let ours = Worker::start_ready(url, "threads=1")?;
    let takes_ms = u64::try_from(TAKES.as_millis())?;
    let mut long = app.send(mark_slowly::call(&*file, OURS, takes_ms)).await?;
    if !ledger
        .wait(LIMIT, |ledger| Ok(ledger.lines()? == 1))
        .await?
    {
        return Err("the long task does not begin".into());
    }
    let _others = [python.worker(&[]), python.worker(&[])];
    python.run(&LEAVE_BEHIND.replace("FILE", &format!("{file:?}")));
    // It shows that they look, and ours that they find nothing of ours.
    let restored = ledger.wait(LIMIT, |ledger| Ok(ledger.times()?.contains_key(&STALE)));
    let restored = restored.await?;
    long.get().await?;
    drop(ours);
    let times = ledger.times()?;
    let mut counts = Counts::default();
    let again = times.get(&OURS).map_or(0, |times| times - 1);
    counts.add("runs too many of the long task", again, 0);
    counts.add(
        "stale messages that nobody gave back",
        u64::from(!restored),
        0,
    );
    Ok(counts)
}
