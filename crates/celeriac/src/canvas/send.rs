//! What an app can send, and what each gives back.

use celeriac_core::canvas::{Canvas, Chain, FrozenChain, Group, Node, Nothing, Step};
use celeriac_core::{Signature, Task, TaskId};
use serde::de::DeserializeOwned;

use super::{GroupHandle, pool, publish};
use crate::app::App;
use crate::error::Result;
use crate::handle::{Handle, Lineage};

/// Something that needs nothing more to run: a call, a chain, a chord or a group.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent",
    label = "lacks an argument, or is no call",
    note = "what is `Given<…>` waits for the value of a step before it: give all arguments with \
            `call`, or put it after another step with `then`"
)]
pub trait Sendable: Sized + Send {
    /// What follows it: a [`Handle`], or a [`GroupHandle`].
    type Handle;

    /// Sends it: what [`App::send`] does.
    #[doc(hidden)]
    fn send_to(self, app: &App) -> impl Future<Output = Result<Self::Handle>> + Send;
}

impl<T: Task> Sendable for Signature<T> {
    type Handle = Handle<T::Output>;

    fn send_to(self, app: &App) -> impl Future<Output = Result<Self::Handle>> + Send {
        app.send_call(self)
    }
}

impl<V: DeserializeOwned + Send + 'static> Sendable for Step<V> {
    type Handle = Handle<V>;

    fn send_to(self, app: &App) -> impl Future<Output = Result<Self::Handle>> + Send {
        send_one(app, self.into_node())
    }
}

impl<V: DeserializeOwned + Send + 'static> Sendable for Chain<V, Nothing> {
    type Handle = Handle<V>;

    fn send_to(self, app: &App) -> impl Future<Output = Result<Self::Handle>> + Send {
        send_one(app, self.into_node())
    }
}

impl<V: DeserializeOwned + Send + 'static> Sendable for Group<V, Nothing> {
    type Handle = GroupHandle<V>;

    async fn send_to(self, app: &App) -> Result<Self::Handle> {
        let id = TaskId::new();
        let parts = send_parts(app, self.into_parts(), Some(&id)).await?;
        Ok(GroupHandle::new(id, parts))
    }
}

/// Sends a canvas that returns a `V`.
pub(crate) async fn send_one<V>(app: &App, node: Node) -> Result<Handle<V>>
where
    V: DeserializeOwned + Send + 'static,
{
    let mut handles = send_parts(app, vec![node], None).await?;
    Ok(handles.pop().expect("one was sent"))
}

/// Sends canvases that return a `V` each, as the parts of a group if they are one.
async fn send_parts<V>(
    app: &App,
    nodes: Vec<Node>,
    group: Option<&TaskId>,
) -> Result<Vec<Handle<V>>>
where
    V: DeserializeOwned + Send + 'static,
{
    let encoding = match app.broker_client() {
        Some(broker) => publish::encoding(app.body_limit_bytes(), broker.format()),
        None => pool::encoding(&app.launcher, app.body_limit_bytes()),
    };
    let frozen = nodes.into_iter().map(|node| encoding.freeze(node));
    let chains = frozen.collect::<Result<Vec<_>, _>>()?;
    if let Some(broker) = app.broker_client() {
        return publish::send(app, broker, chains, group).await;
    }
    let start = |chain: FrozenChain| {
        let lineage = lineage(&chain);
        let call = pool::start(&app.launcher, app.shared_registry(), encoding, chain);
        Handle::of_canvas(call, None, lineage)
    };
    Ok(chains.into_iter().map(start).collect())
}

/// What leads to the last call of `chain`.
pub(super) fn lineage(chain: &FrozenChain) -> Lineage {
    let mut all = chain.ids();
    all.pop();
    Lineage {
        steps: chain.earlier(),
        all,
    }
}
