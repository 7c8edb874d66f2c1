//! Values by name, in order: what a map of the wire is here.

use celeriac_core::Tree;

/// Values by name, in the order they came in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields(pub Vec<(String, Tree)>);

impl Fields {
    /// The value of this name; null counts as none, as everywhere in Celery's options.
    pub fn get(&self, name: &str) -> Option<&Tree> {
        let field = self.0.iter().find(|field| field.0 == name)?;
        (field.1 != Tree::Null).then_some(&field.1)
    }

    /// The text of this name, if there is one.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_text()
    }

    /// Whether there is a value of this name, be it null.
    pub fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|field| field.0 == name)
    }

    /// Gives `name` this value, in the place of one that it had.
    pub fn set(&mut self, name: &str, value: impl Into<Tree>) {
        match self.0.iter_mut().find(|field| field.0 == name) {
            Some(field) => field.1 = value.into(),
            None => self.0.push((name.to_owned(), value.into())),
        }
    }

    /// Takes the value of this name out.
    pub fn remove(&mut self, name: &str) -> Option<Tree> {
        let index = self.0.iter().position(|field| field.0 == name)?;
        Some(self.0.remove(index).1)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Fields> for Tree {
    fn from(fields: Fields) -> Self {
        Self::Map(fields.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_set_found_and_taken_out() {
        let mut fields = Fields::default();
        fields.set("a", "1");
        fields.set("b", Tree::Null);
        fields.set("a", "2");
        assert_eq!(fields.text("a"), Some("2"));
        assert_eq!(fields.get("b"), None);
        assert!(fields.contains("b"));
        assert_eq!(fields.remove("a"), Some("2".into()));
        assert_eq!(fields.0.len(), 1);
    }
}
