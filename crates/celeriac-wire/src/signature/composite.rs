//! Signatures composed of others: whoever applies them takes them apart.

use celeriac_core::Tree;

use super::{Signature, SignatureError, into_list, several};
use crate::fields::Fields;

/// What a composed signature is made of.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Composite {
    /// One after the other, in this order.
    Chain(Vec<Signature>),
    /// All at once.
    Group(Vec<Signature>),
    /// All of the header at once, and then the body with their results.
    Chord {
        /// What runs first.
        header: Vec<Signature>,
        /// What takes the results; its place may still be empty.
        body: Option<Box<Signature>>,
    },
    /// One call for each so many items: a group of `celery.starmap`.
    Chunks {
        /// What is called with each item's values.
        task: Box<Signature>,
        /// The items, each a list of arguments.
        items: Vec<Tree>,
        /// How many items go together.
        size: usize,
    },
}

impl Signature {
    /// What it is made of, or `None` if it is one call. `celery.map` and `celery.starmap` are calls.
    ///
    /// # Errors
    ///
    /// [`SignatureError`] if it is composed and its parts are no signatures.
    pub fn composite(&self) -> Result<Option<Composite>, SignatureError> {
        let part = |name: &str| self.kwargs.get(name).cloned();
        let kind = self.subtask_type.as_deref();
        Ok(Some(match kind.or(legacy(&self.task)) {
            Some("chain") => Composite::Chain(tasks(part("tasks"))?),
            Some("group") => Composite::Group(tasks(part("tasks"))?),
            Some("chord") => Composite::Chord {
                header: match part("header") {
                    Some(Tree::List(items)) => tasks(Some(Tree::List(items)))?,
                    Some(group) => match Self::from_tree(group)?.composite()? {
                        Some(Composite::Group(tasks)) => tasks,
                        _ => return Err(SignatureError::Field("header")),
                    },
                    None => return Err(SignatureError::Field("header")),
                },
                body: part("body").map(Self::from_tree).transpose()?.map(Box::new),
            },
            Some("chunks") => Composite::Chunks {
                task: match part("task") {
                    Some(task) => Box::new(Self::from_tree(task)?),
                    None => return Err(SignatureError::Field("task")),
                },
                items: match part("it") {
                    Some(Tree::List(items)) => items,
                    _ => return Err(SignatureError::Field("it")),
                },
                size: match part("n").map(|n| n.read()) {
                    Some(Ok(size)) if size > 0 => size,
                    _ => return Err(SignatureError::Field("n")),
                },
            },
            _ => return Ok(None),
        }))
    }

    /// Calls one after the other.
    pub fn chain(tasks: Vec<Self>) -> Self {
        Self::composed("chain", vec![("tasks".to_owned(), into_list(tasks))])
    }

    /// Calls at once.
    pub fn group(tasks: Vec<Self>) -> Self {
        Self::composed("group", vec![("tasks".to_owned(), into_list(tasks))])
    }

    /// Calls at once, and one with their results.
    pub fn chord(header: Vec<Self>, body: Self) -> Self {
        let kwargs = vec![
            ("header".to_owned(), Self::group(header).into_tree()),
            ("body".to_owned(), body.into_tree()),
            ("kwargs".to_owned(), Tree::Map(Vec::new())),
        ];
        Self::composed("chord", kwargs)
    }

    fn composed(kind: &str, kwargs: Vec<(String, Tree)>) -> Self {
        Self {
            task: format!("celery.{kind}"),
            kwargs: Fields(kwargs),
            subtask_type: Some(kind.to_owned()),
            ..Self::default()
        }
    }
}

/// What a name says of a signature that has no type, as some clients send them.
fn legacy(task: &str) -> Option<&str> {
    let kind = task.strip_prefix("celery.")?;
    ["chain", "group", "chord", "chunks"]
        .contains(&kind)
        .then_some(kind)
}

fn tasks(tree: Option<Tree>) -> Result<Vec<Signature>, SignatureError> {
    several(tree.ok_or(SignatureError::Field("tasks"))?, "tasks")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> Vec<Signature> {
        vec![Signature::new("a"), Signature::new("b")]
    }

    #[test]
    fn what_is_composed_comes_apart_again() {
        assert_eq!(
            Signature::chain(two()).composite(),
            Ok(Some(Composite::Chain(two())))
        );
        assert_eq!(
            Signature::group(two()).composite(),
            Ok(Some(Composite::Group(two())))
        );
        let chord = Signature::chord(two(), Signature::new("sum"));
        let parts = Composite::Chord {
            header: two(),
            body: Some(Box::new(Signature::new("sum"))),
        };
        assert_eq!(chord.composite(), Ok(Some(parts)));
        assert_eq!(Signature::new("a").composite(), Ok(None));
        assert_eq!(Signature::new("celery.starmap").composite(), Ok(None));
    }

    #[test]
    fn a_header_may_be_a_plain_list() {
        let json = br#"{"task":"celery.chord","subtask_type":"chord",
            "kwargs":{"header":[{"task":"a"},{"task":"b"}],"body":null}}"#;
        let chord = Signature::from_tree(Tree::parse(json).unwrap()).unwrap();
        let parts = Composite::Chord {
            header: two(),
            body: None,
        };
        assert_eq!(chord.composite(), Ok(Some(parts)));
    }

    #[test]
    fn parts_of_the_wrong_form_are_refused() {
        for kwargs in [
            r#""chain","kwargs":{}"#,
            r#""group","kwargs":{"tasks":7}"#,
            r#""group","kwargs":{"tasks":[{}]}"#,
            r#""chord","kwargs":{"body":{"task":"a"}}"#,
            r#""chord","kwargs":{"header":{"task":"a"}}"#,
            r#""chunks","kwargs":{"task":{"task":"a"},"it":[],"n":0}"#,
        ] {
            let json = format!(r#"{{"task":"x","subtask_type":{kwargs}}}"#);
            let signature = Signature::from_tree(Tree::parse(json.as_bytes()).unwrap()).unwrap();
            assert!(signature.composite().is_err(), "{kwargs}");
        }
    }
}
