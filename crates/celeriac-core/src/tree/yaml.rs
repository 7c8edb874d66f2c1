//! YAML as PyYAML's safe loader reads it and reads it back.
//!
//! Kombu writes YAML 1.1, in which `yes` is true and a float needs a point. Two things of it are
//! missing, which no Python program writes: numbers to base 60, and `<<`, which merges maps.
//!
//! # Invariants
//!
//! - Only plain values come out; a tag that would make anything else is an error.
//! - Aliases cannot make a small text large: the values they repeat are counted.
//!
//! # Sources
//!
//! What a plain word means follows the implicit resolvers of PyYAML 6.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};

use super::Tree;
use super::parse::MAX_DEPTH;
use super::write::from_base64;

/// The most values that aliases may repeat.
const MOST_REPEATED: usize = 100_000;

/// Reads one document.
pub(super) fn parse(yaml: &[u8]) -> Result<Tree, &'static str> {
    let text = std::str::from_utf8(yaml).map_err(|_| "it is no UTF-8")?;
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, _) = event.map_err(|_| "it is no YAML")?;
        builder.take(event)?;
    }
    builder.root.ok_or("it holds no value")
}

/// A list or map of which not all has come.
enum Open {
    List(usize, Vec<Tree>),
    Map(usize, Vec<(String, Tree)>, Option<String>),
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: HashMap<usize, Tree>,
    repeated: usize,
    root: Option<Tree>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>) -> Result<(), &'static str> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let tree = scalar(&text, style, tag.as_deref())?;
                self.add(anchor, tree)
            }
            Event::Alias(anchor) => {
                let tree = self
                    .anchors
                    .get(&anchor)
                    .ok_or("an alias names nothing")?
                    .clone();
                self.repeated += size(&tree);
                if self.repeated > MOST_REPEATED {
                    return Err("its aliases repeat too much");
                }
                self.add(0, tree)
            }
            Event::SequenceStart(anchor, tag) => {
                plain_tag(tag.as_deref(), "seq")?;
                self.start(Open::List(anchor, Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                plain_tag(tag.as_deref(), "map")?;
                self.start(Open::Map(anchor, Vec::new(), None))
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::List(anchor, items)) => self.add(anchor, Tree::List(items)),
                Some(Open::Map(anchor, fields, None)) => self.add(anchor, Tree::Map(fields)),
                _ => Err("it is no YAML"),
            },
            _ => Ok(()),
        }
    }

    fn start(&mut self, open: Open) -> Result<(), &'static str> {
        if self.open.len() == MAX_DEPTH {
            return Err("it is nested too deep");
        }
        self.open.push(open);
        Ok(())
    }

    /// Puts a whole value where it belongs.
    fn add(&mut self, anchor: usize, tree: Tree) -> Result<(), &'static str> {
        if anchor > 0 {
            self.anchors.insert(anchor, tree.clone());
        }
        match self.open.last_mut() {
            Some(Open::List(_, items)) => items.push(tree),
            Some(Open::Map(_, fields, name)) => match name.take() {
                Some(name) => fields.push((name, tree)),
                None => *name = Some(key(tree)?),
            },
            None if self.root.is_some() => return Err("it holds more than one document"),
            None => self.root = Some(tree),
        }
        Ok(())
    }
}

/// How many values a tree holds.
fn size(tree: &Tree) -> usize {
    match tree {
        Tree::List(items) => 1 + items.iter().map(size).sum::<usize>(),
        Tree::Map(fields) => 1 + fields.iter().map(|field| size(&field.1)).sum::<usize>(),
        _ => 1,
    }
}

/// The name of a field. What is no text becomes what Python's JSON makes of it.
fn key(tree: Tree) -> Result<String, &'static str> {
    match tree {
        Tree::Text(name) if name == "<<" => Err("it merges maps, which is not read"),
        Tree::Text(name) => Ok(name),
        Tree::Number(number) => Ok(number.into()),
        Tree::Bool(flag) => Ok(flag.to_string()),
        Tree::Null => Ok("null".to_owned()),
        _ => Err("a name in a map is no text"),
    }
}

/// Refuses a tag other than the one a value has anyway.
fn plain_tag(tag: Option<&Tag>, own: &str) -> Result<(), &'static str> {
    match tag {
        Some(tag) if !(tag.is_yaml_core_schema() && tag.suffix == own) => {
            Err("it has a tag that is not read")
        }
        _ => Ok(()),
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Tree, &'static str> {
    let Some(tag) = tag else {
        return Ok(match style {
            ScalarStyle::Plain => word(text),
            _ => Tree::Text(text.to_owned()),
        });
    };
    if !tag.is_yaml_core_schema() {
        return Err("it has a tag that is not read");
    }
    match tag.suffix.as_str() {
        "str" => Ok(Tree::Text(text.to_owned())),
        "binary" => {
            let packed: String = text.split_ascii_whitespace().collect();
            from_base64(&packed)
                .map(Tree::Bytes)
                .ok_or("its bytes are no base64")
        }
        "int" | "float" | "bool" | "null" | "timestamp" => Ok(word(text)),
        _ => Err("it has a tag that is not read"),
    }
}

/// What a word without quotes means.
fn word(text: &str) -> Tree {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Tree::Null,
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Tree::Bool(true);
        }
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Tree::Bool(false);
        }
        ".nan" | ".NaN" | ".NAN" => return Tree::Number("NaN".into()),
        _ => {}
    }
    integer(text)
        .or_else(|| float(text))
        .map(|number| Tree::Number(number.into()))
        .or_else(|| time(text))
        .unwrap_or_else(|| Tree::Text(text.to_owned()))
}

/// An integer in decimal, if the word is one in any base.
fn integer(text: &str) -> Option<String> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    if !digits.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let plain = digits.replace('_', "");
    let based = |digits: &str, base| {
        let number = u128::from_str_radix(digits, base).ok()?;
        Some(format!("{sign}{number}"))
    };
    if let Some(digits) = plain.strip_prefix("0b") {
        return based(digits, 2);
    }
    if let Some(digits) = plain.strip_prefix("0x") {
        return based(digits, 16);
    }
    if plain.len() > 1 && plain.starts_with('0') {
        return based(&plain, 8);
    }
    let decimal = plain.bytes().all(|byte| byte.is_ascii_digit());
    decimal.then(|| format!("{sign}{plain}"))
}

/// A float in JSON's notation: it has a point, and a sign if it has an exponent.
fn float(text: &str) -> Option<String> {
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    if matches!(rest, ".inf" | ".Inf" | ".INF") {
        return Some(format!("{sign}Infinity"));
    }
    let (whole, rest) = rest.split_once('.')?;
    let (fraction, exponent) = match rest.split_once(['e', 'E']) {
        Some((fraction, exponent)) => (fraction, Some(exponent)),
        None => (rest, None),
    };
    let digits = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'_')
    };
    let exponent_fits = |text: &str| {
        text.strip_prefix(['-', '+'])
            .is_some_and(|rest| !rest.is_empty() && digits(rest))
    };
    let starts = format!("{whole}{fraction}").starts_with(|first: char| first.is_ascii_digit());
    if !starts || !digits(whole) || !digits(fraction) || !exponent.is_none_or(exponent_fits) {
        return None;
    }
    let strip = |text: &str| text.replace('_', "");
    let whole = strip(whole);
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        other => other,
    };
    let fraction = match strip(fraction) {
        fraction if fraction.is_empty() => "0".to_owned(),
        fraction => fraction,
    };
    let exponent = exponent
        .map(|exponent| format!("e{exponent}"))
        .unwrap_or_default();
    Some(format!("{sign}{whole}.{fraction}{exponent}"))
}

/// A date, or a date and time, as the object that kombu has for it in JSON.
fn time(text: &str) -> Option<Tree> {
    let dated = text.len() >= 8 && text.is_ascii() && text.as_bytes()[4] == b'-';
    if !dated || !text.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let tag = if text.parse::<jiff::civil::Date>().is_ok() && text.len() == 10 {
        "date"
    } else if crate::moment::read(text).is_ok() {
        "datetime"
    } else {
        return None;
    };
    Some(Tree::Map(vec![
        ("__type__".to_owned(), tag.into()),
        ("__value__".to_owned(), text.into()),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(yaml: &str) -> String {
        match parse(yaml.as_bytes()) {
            Ok(tree) => tree.to_json(),
            Err(problem) => problem.to_owned(),
        }
    }

    #[test]
    fn words_mean_what_they_mean_to_pyyaml() {
        for (yaml, expected) in [
            ("~", "null"),
            ("yes", "true"),
            ("Off", "false"),
            ("y", "\"y\""),
            ("1_000", "1000"),
            ("0x1F", "31"),
            ("010", "8"),
            ("08", "\"08\""),
            ("-0b11", "-3"),
            (
                "123456789012345678901234567890",
                "123456789012345678901234567890",
            ),
            ("1.5", "1.5"),
            ("1.", "1.0"),
            (".5", "0.5"),
            ("1e5", "\"1e5\""),
            ("1.0e+5", "1.0e+5"),
            ("-.inf", "-Infinity"),
            (".NaN", "NaN"),
            ("'1'", "\"1\""),
            ("a b", "\"a b\""),
            (
                "!!binary //4A",
                r#"{"__type__":"base64","__value__":"//4A"}"#,
            ),
            (
                "2030-01-02",
                r#"{"__type__":"date","__value__":"2030-01-02"}"#,
            ),
            (
                "2030-01-02 03:04:05+00:00",
                r#"{"__type__":"datetime","__value__":"2030-01-02 03:04:05+00:00"}"#,
            ),
        ] {
            assert_eq!(json(yaml), expected, "{yaml}");
        }
    }

    #[test]
    fn lists_maps_and_aliases_are_read() {
        assert_eq!(
            json("- - 1\n  - two\n- k: [~, {a: b}]\n  1: x\n"),
            r#"[[1,"two"],{"k":[null,{"a":"b"}],"1":"x"}]"#
        );
        assert_eq!(json("- &id001 [1]\n- *id001\n"), "[[1],[1]]");
    }

    #[test]
    fn what_is_not_safe_is_refused() {
        for yaml in [
            "!!python/object/apply:os.system ['true']",
            "!mine 1",
            "!!python/tuple [1]",
            "[1",
            "a: b: c",
            "1\n---\n2",
            "? [1]\n: 2",
            "- *nowhere",
            "&a [*a]",
            "",
        ] {
            assert!(parse(yaml.as_bytes()).is_err(), "{yaml}");
        }
        assert!(parse("[".repeat(1000).as_bytes()).is_err());
        assert!(parse(b"\xff").is_err());
    }

    #[test]
    fn aliases_cannot_make_a_small_text_large() {
        let mut bomb = "- &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let of = format!("*a{}", level - 1);
            let ten = [of.as_str(); 10].join(", ");
            bomb = format!("{bomb}- &a{level} [{ten}]\n");
        }
        assert_eq!(parse(bomb.as_bytes()), Err("its aliases repeat too much"));
    }

    #[test]
    fn what_we_write_is_read_back() {
        let text = r#"[[1,-2.5,1e16,1E-7,NaN,-Infinity,"é𝄞\"\\\n",true,null],{"yes":"1"}]"#;
        let tree = Tree::parse(text.as_bytes()).unwrap();
        let yaml = tree.to_yaml();
        assert!(yaml.is_ascii());
        assert!(yaml.contains("1.0e+16"), "{yaml}");
        let back = parse(yaml.as_bytes()).unwrap().to_json();
        assert_eq!(
            back,
            text.replace("1e16", "1.0e+16").replace("1E-7", "1.0e-7")
        );
    }
}
