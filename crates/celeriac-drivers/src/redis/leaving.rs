//! How a consumer leaves: what it holds goes back, and so does what waits if nobody is left to look after it.

use super::consumer::RedisConsumer;
use super::failure::Failure;
use super::fetch::Desk;
use super::keeper;
use super::link::{Call, detached};
use super::scripts;
use super::store::Inner;

/// How many waiting messages go back in one step when the last consumer leaves.
const UNPARKED_AT_ONCE: usize = 1000;

impl RedisConsumer {
    /// Gives back what is held and leaves.
    pub(super) async fn leave(&self) -> Result<(), Failure> {
        let (inner, desk) = (self.inner.clone(), self.desk.clone());
        detached(async move {
            let (link, keys) = (&inner.link, &inner.keys);
            let owner = desk.owner();
            let tags = desk.hold().tags(&owner);
            let tags: Vec<&str> = tags.iter().map(|tag| &**tag).collect();
            keeper::take_back(link, keys, &owner, false, &tags).await?;
            if desk.is_in_doubt() {
                let given_up = keeper::Ending::GivenUp(&owner);
                keeper::take_back_from_the_dead(link, keys, given_up).await?;
            }
            let mut unregister = redis::pipe();
            unregister
                .cmd("ZREM")
                .arg(keys.own("consumers"))
                .arg(&*owner);
            unregister
                .cmd("HDEL")
                .arg(keys.own("consumer"))
                .arg(&*owner);
            link.pipeline::<()>(unregister).await?;
            unpark_for_others(&inner, &desk).await
        })
        .await?
    }
}

/// If no consumer of ours is left but workers of another kind are, gives them what waits.
async fn unpark_for_others(inner: &Inner, desk: &Desk) -> Result<(), Failure> {
    let [table, _] = inner.keys.bindings("celery.pidbox");
    let mut any = redis::cmd("EXISTS");
    any.arg(table);
    if !inner.link.command::<bool>(any).await? {
        return Ok(());
    }
    let lists = inner.keys.lists(&desk.queues.all());
    loop {
        let keys = inner.keys.script().into_iter();
        let mut call = Call::new(
            &scripts::UNPARK,
            keys.chain(lists.iter().map(String::as_str)),
        );
        call.arg(UNPARKED_AT_ONCE);
        if inner.link.run::<usize>(call).await? == 0 {
            return Ok(());
        }
    }
}
