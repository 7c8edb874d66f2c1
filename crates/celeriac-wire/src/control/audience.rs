//! Which workers a request is for.

use std::fmt;

use regex::{Regex, RegexBuilder};

use super::ControlError;

/// The most bytes that a pattern takes when it is compiled.
const MOST_COMPILED_BYTES: usize = 256 * 1024;

/// Who is to obey a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Audience {
    /// Every worker.
    All,
    /// The workers of these names.
    Nodes(Vec<String>),
    /// The workers whose names match.
    Matching(Matcher),
}

/// A pattern of names.
#[derive(Clone)]
pub struct Matcher {
    pattern: String,
    kind: &'static str,
    compiled: Regex,
}

impl Audience {
    /// The audience of a request with these fields: named nodes come before a pattern, and without
    /// either it is everybody's, as in kombu.
    pub(super) fn of(
        destination: Option<Vec<String>>,
        pattern: Option<String>,
        matcher: Option<&str>,
    ) -> Result<Self, ControlError> {
        if let Some(nodes) = destination.filter(|nodes| !nodes.is_empty()) {
            return Ok(Self::Nodes(nodes));
        }
        let pattern = pattern.filter(|pattern| !pattern.is_empty());
        match (pattern, matcher) {
            (Some(pattern), Some("glob")) => Matcher::glob(&pattern).map(Self::Matching),
            (Some(pattern), Some("pcre")) => Matcher::regex(&pattern).map(Self::Matching),
            (Some(_), Some(other)) if !other.is_empty() => Err(ControlError::Pattern),
            _ => Ok(Self::All),
        }
    }

    /// Whether the worker of this name is to obey.
    pub fn includes(&self, node: &str) -> bool {
        match self {
            Self::All => true,
            Self::Nodes(nodes) => nodes.iter().any(|name| name == node),
            Self::Matching(matcher) => matcher.matches(node),
        }
    }
}

impl Matcher {
    /// Names that fit a pattern of a shell: `*`, `?` and `[…]`.
    ///
    /// # Errors
    ///
    /// [`ControlError::Pattern`] if it is too large.
    pub fn glob(pattern: &str) -> Result<Self, ControlError> {
        let expression = format!("^(?s:{})$", translated(pattern));
        Self::compile(pattern, "glob", &expression)
    }

    /// Names whose beginning fits a regular expression.
    ///
    /// # Errors
    ///
    /// [`ControlError::Pattern`] if it is none, or has what takes more than linear time: looking around
    /// and references back.
    pub fn regex(pattern: &str) -> Result<Self, ControlError> {
        Self::compile(pattern, "pcre", &format!("^(?:{pattern})"))
    }

    fn compile(pattern: &str, kind: &'static str, expression: &str) -> Result<Self, ControlError> {
        let compiled = RegexBuilder::new(expression)
            .size_limit(MOST_COMPILED_BYTES)
            .build()
            .map_err(|_| ControlError::Pattern)?;
        Ok(Self {
            pattern: pattern.to_owned(),
            kind,
            compiled,
        })
    }

    /// It as it was given.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// What Celery calls its kind: `glob` or `pcre`.
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    fn matches(&self, node: &str) -> bool {
        self.compiled.is_match(node)
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        (&self.pattern, self.kind) == (&other.pattern, other.kind)
    }
}

impl fmt::Debug for Matcher {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.kind, self.pattern)
    }
}

/// A shell's pattern as a regular expression.
fn translated(pattern: &str) -> String {
    let mut expression = String::new();
    let mut rest = pattern;
    while let Some(letter) = rest.chars().next() {
        rest = &rest[letter.len_utf8()..];
        match letter {
            '*' => expression.push_str(".*"),
            '?' => expression.push('.'),
            // The first character of a set may be its end.
            '[' if let Some(end) = set_end(rest) => {
                expression.push_str(&set(&rest[..end]));
                rest = &rest[end + 1..];
            }
            other => expression.push_str(&regex::escape(other.encode_utf8(&mut [0; 4]))),
        }
    }
    expression
}

fn set_end(rest: &str) -> Option<usize> {
    let first = usize::from(rest.starts_with('!'));
    let first = first + usize::from(rest[first..].starts_with(']'));
    rest[first..].find(']').map(|end| first + end)
}

fn set(inside: &str) -> String {
    let (not, inside) = match inside.strip_prefix('!') {
        Some(inside) => ("^", inside),
        None => ("", inside),
    };
    let mut escaped = String::new();
    for letter in inside.chars() {
        if matches!(letter, '\\' | '[' | ']' | '^' | '&' | '~') {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    format!("[{not}{escaped}]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_of_a_shell_is_matched_as_a_whole() {
        for (pattern, node, expected) in [
            ("w*@wire*", "w1@wirehost", true),
            ("w*", "xw1@wirehost", false),
            ("w?@h", "w1@h", true),
            ("w?@h", "w12@h", false),
            ("w[1-3]@h", "w2@h", true),
            ("w[!1-3]@h", "w2@h", false),
            ("w[]]@h", "w]@h", true),
            ("w[", "w[", true),
            ("a.b", "axb", false),
            ("w[a&&b]", "w&", true),
        ] {
            let matcher = Matcher::glob(pattern).unwrap();
            assert_eq!(matcher.matches(node), expected, "{pattern} and {node}");
        }
    }

    #[test]
    fn a_regular_expression_fits_the_beginning() {
        let matcher = Matcher::regex(r"w\d@.*|x").unwrap();
        assert!(matcher.matches("w1@wirehost") && matcher.matches("xylophone"));
        assert!(!matcher.matches("ax"));
        for refused in ["(", "(?=a)", r"(a)\1", "((a{1000}){1000}){1000}"] {
            assert_eq!(Matcher::regex(refused), Err(ControlError::Pattern));
        }
    }
}
