//! JSON, as strict as its definition but for the numbers that only Python writes.

use super::{ParseError, Tree};

/// How deep lists and maps may be nested: enough for people, and safe for every stack.
pub(super) const MAX_DEPTH: usize = 128;

pub(super) fn parse(json: &[u8]) -> Result<Tree, ParseError> {
    let mut parser = Parser {
        json,
        offset: 0,
        depth: 0,
    };
    let tree = parser.value()?;
    parser.skip_space();
    match parser.peek() {
        None => Ok(tree),
        Some(_) => parser.fail("more than one value"),
    }
}

struct Parser<'a> {
    json: &'a [u8],
    offset: usize,
    depth: usize,
}

impl Parser<'_> {
    fn fail<T>(&self, problem: &'static str) -> Result<T, ParseError> {
        Err(ParseError {
            problem,
            offset: self.offset,
        })
    }

    fn peek(&self) -> Option<u8> {
        self.json.get(self.offset).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\t' | b'\r')) {
            self.offset += 1;
        }
    }

    /// Takes `word` if it comes next.
    fn take(&mut self, word: &[u8]) -> bool {
        let next = self.json[self.offset..].starts_with(word);
        if next {
            self.offset += word.len();
        }
        next
    }

    fn value(&mut self) -> Result<Tree, ParseError> {
        self.skip_space();
        match self.peek() {
            None => self.fail("the JSON ends too soon"),
            Some(b'{') => self.nested(Self::map),
            Some(b'[') => self.nested(Self::list),
            Some(b'"') => self.text().map(Tree::Text),
            Some(_) if self.take(b"null") => Ok(Tree::Null),
            Some(_) if self.take(b"true") => Ok(Tree::Bool(true)),
            Some(_) if self.take(b"false") => Ok(Tree::Bool(false)),
            Some(_) => self.number(),
        }
    }

    fn nested(
        &mut self,
        inner: fn(&mut Self) -> Result<Tree, ParseError>,
    ) -> Result<Tree, ParseError> {
        self.offset += 1;
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return self.fail("it is nested too deep");
        }
        let tree = inner(self)?;
        self.depth -= 1;
        Ok(tree)
    }

    fn list(&mut self) -> Result<Tree, ParseError> {
        let mut items = Vec::new();
        self.skip_space();
        if self.take(b"]") {
            return Ok(Tree::List(items));
        }
        loop {
            items.push(self.value()?);
            self.skip_space();
            if self.take(b"]") {
                return Ok(Tree::List(items));
            }
            if !self.take(b",") {
                return self.fail("a list goes on without a comma");
            }
        }
    }

    fn map(&mut self) -> Result<Tree, ParseError> {
        let mut fields = Vec::new();
        self.skip_space();
        if self.take(b"}") {
            return Ok(Tree::Map(fields));
        }
        loop {
            self.skip_space();
            if self.peek() != Some(b'"') {
                return self.fail("a map has a name that is no text");
            }
            let name = self.text()?;
            self.skip_space();
            if !self.take(b":") {
                return self.fail("a name in a map has no value");
            }
            fields.push((name, self.value()?));
            self.skip_space();
            if self.take(b"}") {
                return Ok(Tree::Map(fields));
            }
            if !self.take(b",") {
                return self.fail("a map goes on without a comma");
            }
        }
    }

    /// A text in quotes. Its end is found here; what is in it, `serde_json` knows.
    fn text(&mut self) -> Result<String, ParseError> {
        let start = self.offset;
        let mut end = start + 1;
        loop {
            match self.json.get(end) {
                None => return self.fail("a text does not end"),
                Some(b'"') => break,
                Some(b'\\') => end += 2,
                Some(_) => end += 1,
            }
        }
        let quoted = &self.json[start..=end];
        match serde_json::from_slice(quoted).or_else(|_| lone_surrogates(quoted)) {
            Ok(text) => {
                self.offset = end + 1;
                Ok(text)
            }
            Err(_) => self.fail("a text is no valid Unicode or has a bad escape"),
        }
    }

    fn number(&mut self) -> Result<Tree, ParseError> {
        for word in ["NaN", "Infinity", "-Infinity"] {
            if self.take(word.as_bytes()) {
                return Ok(Tree::Number(word.into()));
            }
        }
        let start = self.offset;
        self.take(b"-");
        let zero = self.take(b"0");
        if !zero && !self.digits() {
            self.offset = start;
            return self.fail("no value");
        }
        if self.take(b".") && !self.digits() {
            return self.fail("a number ends in its point");
        }
        if self.take(b"e") || self.take(b"E") {
            let _signed = self.take(b"+") || self.take(b"-");
            if !self.digits() {
                return self.fail("a number has no exponent");
            }
        }
        let number = std::str::from_utf8(&self.json[start..self.offset]);
        Ok(Tree::Number(
            number.expect("they are digits and signs").into(),
        ))
    }

    /// Takes digits, and says whether there were any.
    fn digits(&mut self) -> bool {
        let start = self.offset;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.offset += 1;
        }
        self.offset > start
    }
}

/// A text with half of a surrogate pair, which Python writes and Unicode has no text for: each half
/// becomes the replacement character.
fn lone_surrogates(quoted: &[u8]) -> Result<String, serde_json::Error> {
    let mut mended = Vec::with_capacity(quoted.len());
    let mut rest = quoted;
    while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
        mended.extend_from_slice(&rest[..at]);
        let escape = &rest[at..];
        let taken = match (
            surrogate(escape),
            surrogate(escape.get(6..).unwrap_or_default()),
        ) {
            (Some(Half::High), Some(Half::Low)) => 12,
            (Some(_), _) => {
                mended.extend_from_slice(br"\ufffd");
                rest = &escape[6..];
                continue;
            }
            (None, _) => escape.len().min(2),
        };
        mended.extend_from_slice(&escape[..taken]);
        rest = &escape[taken..];
    }
    mended.extend_from_slice(rest);
    serde_json::from_slice(&mended)
}

enum Half {
    High,
    Low,
}

/// Which half of a surrogate pair the escape at the start of `text` is.
fn surrogate(text: &[u8]) -> Option<Half> {
    let digits = text.strip_prefix(br"\u")?.get(..4)?;
    match u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()? {
        0xd800..=0xdbff => Some(Half::High),
        0xdc00..=0xdfff => Some(Half::Low),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_read_and_written_to_the_letter() {
        for text in [
            "null",
            r#"{"a":[1,-2.50,1e400,true,false,null],"b":{},"c":[]}"#,
            r#""\"\\é☃𝄞""#,
            "-0",
            "123456789012345678901234567890123456789012345678901234567890",
            "[NaN,Infinity,-Infinity]",
        ] {
            assert_eq!(parse(text.as_bytes()).unwrap().to_json(), text);
        }
        let spaced = b" { \"a\" : [ 1 , 2 ] } \n";
        assert_eq!(parse(spaced).unwrap().to_json(), r#"{"a":[1,2]}"#);
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in [
            "",
            " ",
            "nul",
            "[1",
            "[1,]",
            "[,1]",
            "{",
            "{1:2}",
            "{\"a\"}",
            "{\"a\":1,}",
            "01",
            "1.",
            "-",
            "+1",
            ".5",
            "1e",
            "\"",
            "\"\\",
            "\"\\x\"",
            "\"\u{1}\"",
            "1 2",
            "nan",
            "'a'",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(parse(b"\"\xff\"").is_err());
    }

    #[test]
    fn nesting_has_an_end() {
        let deep = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert!(parse(deep(128).as_bytes()).is_ok());
        assert!(parse(deep(129).as_bytes()).is_err());
        assert!(parse("[".repeat(1_000_000).as_bytes()).is_err());
    }

    #[test]
    fn half_a_surrogate_pair_is_replaced() {
        let read = |text: &str| parse(text.as_bytes()).map(|tree| tree.to_json());
        assert_eq!(read(r#""a\ud834b""#).unwrap(), "\"a\u{fffd}b\"");
        assert_eq!(
            read(r#""\ud834\udd1e\udd1e""#).unwrap(),
            "\"\u{1d11e}\u{fffd}\""
        );
        assert_eq!(read(r#""\\ud834""#).unwrap(), r#""\\ud834""#);
    }
}
