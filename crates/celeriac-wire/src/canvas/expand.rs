//! Signatures turned into messages, composed ones into several.

use celeriac_core::{TaskId, Tree};

use super::{CanvasError, Follow, NESTING, With};
use crate::fields::Fields;
use crate::signature::{Composite, Signature, into_list};

/// Where a signature stands in the workflow around it.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// The steps that follow it; the next one is the last.
    pub(super) chain: Vec<Signature>,
    /// The group it is part of, and its place there.
    pub(super) group: Option<(String, Option<u64>)>,
    /// What runs when all of the group have ended.
    pub(super) chord: Option<Tree>,
    /// How many calls it replaces one inside the other: told to what is sent first.
    pub(super) nesting: Option<Tree>,
}

impl Place {
    pub(super) fn in_group(group: String, index: u64) -> Self {
        Self {
            group: Some((group, Some(index))),
            ..Self::default()
        }
    }

    pub(super) fn before(chain: Vec<Signature>) -> Self {
        Self {
            chain,
            ..Self::default()
        }
    }

    /// Gives `signature` its place, but for what it has already.
    fn settle(self, signature: &mut Signature) {
        if let Some((group, index)) = self.group {
            set_default(signature, "group_id", Tree::Text(group));
            if let Some(index) = index {
                set_default(signature, "group_index", number(index));
            }
        }
        if let Some(chord) = self.chord {
            set_default(signature, "chord", chord);
        }
        if let Some(nesting) = self.nesting {
            set_default(signature, NESTING, nesting);
        }
        // What follows it by itself comes before what follows around it.
        if !self.chain.is_empty() {
            let mut chain = into_list(self.chain);
            if let (Tree::List(chain), Some(Tree::List(own))) =
                (&mut chain, signature.options.get("chain"))
            {
                chain.extend(own.iter().cloned());
            }
            signature.options.set("chain", chain);
        }
    }
}

/// Adds messages to what follows a call.
pub(super) struct Expansion<'f, 'w> {
    pub(super) out: &'f mut Follow,
    pub(super) with: &'f With<'w>,
}

impl Expansion<'_, '_> {
    /// Sends `signature`, with `first` before its own arguments unless it is immutable.
    pub(super) fn send(
        &mut self,
        signature: &Signature,
        first: Option<&Tree>,
        mut place: Place,
    ) -> Result<(), CanvasError> {
        let id = signature.id();
        if let Some(nesting) = signature.options.get(NESTING) {
            place.nesting = Some(nesting.clone());
        }
        match signature.composite()? {
            None => self.send_call(signature, first, place),
            Some(Composite::Chain(tasks)) => self.send_chain(tasks, first, place),
            Some(Composite::Group(tasks)) => self.send_group(id, tasks, first, place),
            Some(Composite::Chord { header, body }) => {
                let Some(mut body) = body else {
                    return Ok(());
                };
                if let Some(id) = id {
                    set_default(&mut body, "task_id", id.into());
                }
                // Where a chord is part of a group, its body stands for it.
                for name in ["group_id", "group_index", "chord"] {
                    if let Some(value) = signature.options.get(name) {
                        set_default(&mut body, name, value.clone());
                    }
                }
                self.send_parts(header_id(signature), header, *body, first, place)
            }
            Some(Composite::Chunks { task, items, size }) => {
                let parts = items.chunks(size).map(|items| starmap(&task, items));
                self.send_group(id, parts.collect(), first, place)
            }
        }
    }

    fn send_chain(
        &mut self,
        mut tasks: Vec<Signature>,
        first: Option<&Tree>,
        mut place: Place,
    ) -> Result<(), CanvasError> {
        let Some(last) = tasks.last_mut() else {
            return Ok(());
        };
        // A chain stands in a group by its last step.
        let mut chain = std::mem::take(&mut place.chain);
        let nesting = place.nesting.take();
        place.settle(last);
        let next = tasks.remove(0);
        chain.extend(tasks.into_iter().rev());
        let place = Place {
            nesting,
            ..Place::before(chain)
        };
        self.send(&next, first, place)
    }

    fn send_group(
        &mut self,
        id: Option<&str>,
        tasks: Vec<Signature>,
        first: Option<&Tree>,
        mut place: Place,
    ) -> Result<(), CanvasError> {
        if let Some(body) = place.chain.pop() {
            return self.send_parts(id, tasks, body, first, place);
        }
        let group = id.map_or_else(new_id, str::to_owned);
        for (index, task) in (0..).zip(tasks) {
            let place = Place {
                nesting: place.nesting.clone(),
                ..Place::in_group(group.clone(), index)
            };
            self.send(&task, first, place)?;
        }
        Ok(())
    }

    /// Sends the header of a chord.
    fn send_parts(
        &mut self,
        group: Option<&str>,
        header: Vec<Signature>,
        mut body: Signature,
        first: Option<&Tree>,
        mut place: Place,
    ) -> Result<(), CanvasError> {
        let group = group.map_or_else(new_id, str::to_owned);
        set_default(&mut body, "task_id", Tree::Text(new_id()));
        if place.group.is_none() {
            place.group = Some((group.clone(), None));
        }
        let nesting = place.nesting.clone();
        // Where the chord itself is part of a group, its body takes its place there.
        place.settle(&mut body);
        if header.is_empty() {
            return self.send(&body, Some(&Tree::List(Vec::new())), Place::default());
        }
        self.out.opened.push((group.clone(), header.len() as u64));
        let body = body.into_tree();
        for (index, task) in (0..).zip(header) {
            let place = Place {
                chord: Some(body.clone()),
                nesting: nesting.clone(),
                ..Place::in_group(group.clone(), index)
            };
            self.send(&task, first, place)?;
        }
        Ok(())
    }

    fn send_call(
        &mut self,
        signature: &Signature,
        first: Option<&Tree>,
        place: Place,
    ) -> Result<(), CanvasError> {
        let args = first.cloned().into_iter().collect();
        let mut applied = signature.merge(args, Fields::default(), &self.with.options());
        place.settle(&mut applied);
        if let Some(reply_to) = self.with.reply_to(&applied) {
            applied.options.set("reply_to", Tree::Text(reply_to));
        }
        let sent = applied.to_message(self.with.now)?;
        let named = sent.target.destination().ok().flatten();
        let destination = (self.with.route)(named, routed_as(&applied));
        self.out.messages.push((destination, sent.message));
        Ok(())
    }
}

/// The task by whose name a call is routed: that of many values goes where those of one go.
fn routed_as(call: &Signature) -> &str {
    let inner = match call.task.as_str() {
        "celery.map" | "celery.starmap" => call.kwargs.get("task"),
        _ => None,
    };
    let name = inner
        .and_then(|task| task.get("task"))
        .and_then(Tree::as_text);
    name.unwrap_or(&call.task)
}

/// The id of the group that is the header of a chord.
fn header_id(chord: &Signature) -> Option<&str> {
    let options = chord.kwargs.get("header")?.get("options")?;
    options.get("task_id")?.as_text()
}

/// One call that runs `task` on each of `items`.
pub(super) fn starmap(task: &Signature, items: &[Tree]) -> Signature {
    let mut call = Signature::new("celery.starmap");
    call.kwargs.set("task", task.clone());
    call.kwargs.set("it", Tree::List(items.to_vec()));
    call.immutable = true;
    call
}

/// Sets an option unless it is set.
fn set_default(signature: &mut Signature, name: &str, value: Tree) {
    if signature.options.get(name).is_none() {
        signature.options.set(name, value);
    }
}

pub(super) fn new_id() -> String {
    TaskId::new().to_string()
}

pub(super) fn number(number: u64) -> Tree {
    Tree::Number(number.to_string().into())
}
