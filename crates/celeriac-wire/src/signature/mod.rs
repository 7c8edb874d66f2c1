//! Signatures: calls not yet made, as messages carry them for what follows.

mod composite;
mod send;

use celeriac_core::Tree;

use crate::fields::Fields;

pub use composite::Composite;
pub use send::{Sent, Target};

/// A call not yet made, or several composed, in the form that Celery's messages have for it.
///
/// Arguments are trees, which lose nothing; options are those of `apply_async`.
///
/// ```
/// use celeriac_core::Tree;
/// use celeriac_wire::{Fields, Signature};
///
/// let tree = Tree::parse(br#"{"task": "shop.mul", "args": [10], "options": {"queue": "fast"}}"#)?;
/// let signature = Signature::from_tree(tree)?;
/// let result = Tree::parse(b"4")?;
/// let applied = signature.merge(vec![result], Fields::default(), &Fields::default());
/// assert_eq!(Tree::List(applied.args).to_json(), "[4,10]");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Signature {
    /// The name of the task.
    pub task: String,
    /// Its positional arguments.
    pub args: Vec<Tree>,
    /// Its named arguments.
    pub kwargs: Fields,
    /// How it is sent: `task_id`, `queue`, `link`, `chord` and more. Null ones count as absent.
    pub options: Fields,
    /// What it is composed of, such as `chain`; `None` for a plain call.
    pub subtask_type: Option<String>,
    /// Whether it takes no arguments from what came before it.
    pub immutable: bool,
    /// Fields that are not known here, as they came.
    pub extra: Fields,
}

/// Why a value is no signature, or a signature cannot be sent.
///
/// None of these repeats an argument.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// It is no map, or has no text for the name of its task.
    #[error("it is no signature: it names no task")]
    NoTask,
    /// A field or an option has a form it cannot have.
    #[error("`{0}` of a signature has the wrong form")]
    Field(&'static str),
    /// It is composed of others, and so no one message.
    #[error("a {0} is not sent as one message")]
    Composite(String),
}

impl Signature {
    /// A plain call of `task` without arguments.
    pub fn new(task: impl Into<String>) -> Self {
        Self {
            task: task.into(),
            ..Self::default()
        }
    }

    /// Reads the map form.
    ///
    /// # Errors
    ///
    /// [`SignatureError`] if it is none.
    pub fn from_tree(tree: Tree) -> Result<Self, SignatureError> {
        let Tree::Map(fields) = tree else {
            return Err(SignatureError::NoTask);
        };
        let mut extra = Fields(fields);
        let Some(Tree::Text(task)) = extra.remove("task") else {
            return Err(SignatureError::NoTask);
        };
        Ok(Self {
            task,
            args: list(&mut extra, "args")?,
            kwargs: map(&mut extra, "kwargs")?,
            options: map(&mut extra, "options")?,
            subtask_type: match extra.remove("subtask_type") {
                None | Some(Tree::Null) => None,
                Some(Tree::Text(name)) => Some(name),
                Some(_) => return Err(SignatureError::Field("subtask_type")),
            },
            immutable: match extra.remove("immutable") {
                None | Some(Tree::Null) => false,
                Some(Tree::Bool(flag)) => flag,
                Some(_) => return Err(SignatureError::Field("immutable")),
            },
            extra,
        })
    }

    /// The map form.
    pub fn into_tree(self) -> Tree {
        let subtask_type = self.subtask_type.map_or(Tree::Null, Tree::Text);
        let mut fields = vec![
            ("task".to_owned(), Tree::Text(self.task)),
            ("args".to_owned(), Tree::List(self.args)),
            ("kwargs".to_owned(), self.kwargs.into()),
            ("options".to_owned(), self.options.into()),
            ("subtask_type".to_owned(), subtask_type),
            ("immutable".to_owned(), Tree::Bool(self.immutable)),
        ];
        fields.extend(self.extra.0);
        Tree::Map(fields)
    }

    /// The signature as it is applied with further arguments and options.
    ///
    /// `args` come before its own, the named ones win over its own; an immutable one takes neither.
    /// `options` win over its own, but for its group and for the stamps it already has.
    #[must_use]
    pub fn merge(&self, args: Vec<Tree>, kwargs: Fields, options: &Fields) -> Self {
        let mut merged = self.clone();
        if !self.immutable {
            merged.args.splice(0..0, args);
            for (name, value) in kwargs.0 {
                merged.kwargs.set(&name, value);
            }
        }
        let stamps = self.stamped_headers();
        let kept = |name: &str| {
            let fixed = name == "group_id" || name == "stamped_headers" || stamps.contains(&name);
            fixed && self.options.contains(name)
        };
        for (name, value) in &options.0 {
            if !kept(name) {
                merged.options.set(name, value.clone());
            }
        }
        merged
    }

    /// The names of its stamps.
    pub fn stamped_headers(&self) -> Vec<&str> {
        match self.options.get("stamped_headers") {
            Some(Tree::List(names)) => names.iter().filter_map(Tree::as_text).collect(),
            _ => Vec::new(),
        }
    }

    /// The id it will be sent under, if that is fixed.
    pub fn id(&self) -> Option<&str> {
        self.options.text("task_id")
    }

    /// The signatures of an option such as `link`, which may be one or several.
    ///
    /// # Errors
    ///
    /// [`SignatureError`] if one of them is none.
    pub fn linked(&self, option: &'static str) -> Result<Vec<Self>, SignatureError> {
        match self.options.get(option) {
            Some(tree) => several(tree.clone(), option),
            None => Ok(Vec::new()),
        }
    }
}

impl From<Signature> for Tree {
    fn from(signature: Signature) -> Self {
        signature.into_tree()
    }
}

/// A list of signatures, or one that stands for a list of one.
pub(crate) fn several(tree: Tree, name: &'static str) -> Result<Vec<Signature>, SignatureError> {
    match tree {
        Tree::Null => Ok(Vec::new()),
        Tree::List(items) => items.into_iter().map(Signature::from_tree).collect(),
        one @ Tree::Map(_) => Ok(vec![Signature::from_tree(one)?]),
        _ => Err(SignatureError::Field(name)),
    }
}

/// The list form of signatures.
pub(crate) fn into_list(signatures: Vec<Signature>) -> Tree {
    Tree::List(signatures.into_iter().map(Signature::into_tree).collect())
}

fn list(fields: &mut Fields, name: &'static str) -> Result<Vec<Tree>, SignatureError> {
    match fields.remove(name) {
        None | Some(Tree::Null) => Ok(Vec::new()),
        Some(Tree::List(items)) => Ok(items),
        Some(_) => Err(SignatureError::Field(name)),
    }
}

fn map(fields: &mut Fields, name: &'static str) -> Result<Fields, SignatureError> {
    match fields.remove(name) {
        None | Some(Tree::Null) => Ok(Fields::default()),
        Some(Tree::Map(fields)) => Ok(Fields(fields)),
        Some(_) => Err(SignatureError::Field(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Signature, SignatureError> {
        Signature::from_tree(Tree::parse(json.as_bytes()).unwrap())
    }

    fn fields(json: &str) -> Fields {
        match Tree::parse(json.as_bytes()).unwrap() {
            Tree::Map(fields) => Fields(fields),
            _ => panic!("it is a map"),
        }
    }

    #[test]
    fn a_signature_is_written_as_it_was_read() {
        let json = r#"{"task":"a","args":[123456789012345678901234567890],"kwargs":{"k":NaN},"options":{"task_id":"x","mine":1},"subtask_type":null,"immutable":true,"chord_size":3}"#;
        assert_eq!(read(json).unwrap().into_tree().to_json(), json);
    }

    #[test]
    fn the_shortest_signature_is_a_name() {
        assert_eq!(
            read(r#"{"task":"a","args":null}"#).unwrap(),
            Signature::new("a")
        );
        assert_eq!(read(r#"{"args":[]}"#), Err(SignatureError::NoTask));
        assert_eq!(read("[]"), Err(SignatureError::NoTask));
        assert_eq!(
            read(r#"{"task":"a","args":{}}"#),
            Err(SignatureError::Field("args"))
        );
    }

    #[test]
    fn the_result_comes_first_and_options_of_the_call_win() {
        let own = read(
            r#"{"task":"a","args":[2],"kwargs":{"k":1},"options":{"queue":"slow","group_id":"g"}}"#,
        )
        .unwrap();
        let merged = own.merge(
            vec![Tree::Bool(true)],
            fields(r#"{"k":2,"m":3}"#),
            &fields(r#"{"queue":"fast","group_id":"other","priority":9}"#),
        );
        assert_eq!(Tree::List(merged.args).to_json(), "[true,2]");
        assert_eq!(Tree::from(merged.kwargs).to_json(), r#"{"k":2,"m":3}"#);
        let options = Tree::from(merged.options).to_json();
        assert_eq!(options, r#"{"queue":"fast","group_id":"g","priority":9}"#);
    }

    #[test]
    fn an_immutable_signature_takes_options_only() {
        let own = read(r#"{"task":"a","args":[2],"immutable":true}"#).unwrap();
        let merged = own.merge(
            vec![Tree::Null],
            fields(r#"{"k":2}"#),
            &fields(r#"{"queue":"q"}"#),
        );
        assert_eq!(Tree::List(merged.args).to_json(), "[2]");
        assert!(merged.kwargs.is_empty());
        assert_eq!(merged.options.text("queue"), Some("q"));
    }

    #[test]
    fn stamps_that_are_there_stay() {
        let own = read(r#"{"task":"a","options":{"stamped_headers":["by"],"by":"me"}}"#).unwrap();
        let merged = own.merge(
            Vec::new(),
            Fields::default(),
            &fields(r#"{"stamped_headers":["by","at"],"by":"you","at":"home"}"#),
        );
        assert_eq!(merged.options.text("by"), Some("me"));
        assert_eq!(merged.stamped_headers(), ["by"]);
        assert_eq!(merged.options.text("at"), Some("home"));
    }
}
