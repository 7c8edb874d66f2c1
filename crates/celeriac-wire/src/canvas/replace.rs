//! A call that is replaced while it runs: other calls take its place in the workflow.
//!
//! # Sources
//!
//! `celery.app.task.Task.replace` in Celery 5.7.

use celeriac_core::canvas::Replacement;
use celeriac_core::{Message, Tree};
use jiff::Timestamp;
use serde_json::Value;

use super::expand::number;
use super::{CanvasError, Follow, NESTING, Origin, Place, Route, Signatures, With};
use crate::body::Body;
use crate::fields::Fields;
use crate::signature::Signature;

/// What is to be done after the call that `message` made was replaced.
///
/// The last call of the replacement has the id of the one it replaces, its place in a group and its
/// callbacks; what followed in the chain follows it. A failure of any of its steps is told to the
/// same errbacks.
///
/// # Errors
///
/// [`CanvasError`] if the body cannot be read, or its workflow is none.
pub fn replace(
    message: &Message,
    replacement: &Replacement,
    route: Route<'_>,
    now: Timestamp,
) -> Result<Follow, CanvasError> {
    let mut embed = Body::decode(&message.body)?.embed;
    let headers = &message.headers;
    let with = With {
        origin: Origin::of(message),
        route,
        now,
    };
    let mut chain = replacement.chain.clone();
    let last = chain.last_mut();
    last.id = headers.id.clone();
    last.options.ignore_result = headers.ignore_result.or(last.options.ignore_result);
    let nesting = headers.extra.get(NESTING).and_then(Value::as_u64);
    let nesting = number(nesting.unwrap_or(0).saturating_add(1));
    for step in &mut embed.chain {
        step.options.set(NESTING, nesting.clone());
    }
    let signatures = Signatures {
        content_type: replacement.content_type,
        reply_to: message.reply_to.clone(),
    };
    let (callbacks, errbacks) = (into_trees(embed.callbacks), into_trees(embed.errbacks));
    let count = chain.0.len();
    let steps = (1..).zip(chain.0).map(|(position, link)| {
        let mut step = signatures.of_changed_link(link, |options| {
            extend(options, "link_error", &errbacks);
            if position == count {
                extend(options, "link", &callbacks);
            }
        });
        step.options.set(NESTING, nesting.clone());
        step
    });
    let mut steps: Vec<_> = steps.collect();
    let index = headers.extra.get("group_index").and_then(Value::as_u64);
    let place = Place {
        chain: embed.chain,
        group: headers.group.clone().map(|group| (group, index)),
        chord: embed.chord.map(Signature::into_tree),
        ..Place::default()
    };
    let whole = match steps.len() {
        1 => steps.remove(0),
        _ => Signature::chain(steps),
    };
    let mut follow = Follow::default();
    follow.send(&whole, None, place, &with)?;
    Ok(follow)
}

fn into_trees(signatures: Vec<Signature>) -> Vec<Tree> {
    signatures.into_iter().map(Signature::into_tree).collect()
}

/// Adds to the list that an option is.
fn extend(options: &mut Fields, name: &str, more: &[Tree]) {
    if more.is_empty() {
        return;
    }
    let mut all = match options.remove(name) {
        Some(Tree::List(own)) => own,
        _ => Vec::new(),
    };
    all.extend_from_slice(more);
    options.set(name, Tree::List(all));
}
