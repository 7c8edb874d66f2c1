//! Finding the three parts of a body in JSON without reading what is in them.

use bytes::Bytes;

/// The three items of a list, to the letter. What is in them is not checked but for its brackets.
pub(super) fn split(json: &Bytes) -> Option<[Bytes; 3]> {
    let trimmed = json.trim_ascii();
    let inner = trimmed.strip_prefix(b"[")?.strip_suffix(b"]")?;
    let mut parts = [&b""[..]; 3];
    let mut found = 0;
    let mut rest = inner;
    loop {
        let end = item_end(rest)?;
        *parts.get_mut(found)? = rest[..end].trim_ascii();
        found += 1;
        match rest.get(end) {
            Some(_) => rest = &rest[end + 1..],
            None => break,
        }
    }
    let brackets = |part: &[u8], open, close| part.starts_with(open) && part.ends_with(close);
    let whole = found == 3 && brackets(parts[0], b"[", b"]") && brackets(parts[1], b"{", b"}");
    whole.then(|| parts.map(|part| json.slice_ref(part)))
}

/// Where the first item of `items` ends: at a comma outside of brackets and quotes, or at the end.
fn item_end(items: &[u8]) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(byte) = items.get(at) {
        match byte {
            b'"' => at = text_end(items, at)?,
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.checked_sub(1)?,
            b',' if depth == 0 => return Some(at),
            _ => {}
        }
        at += 1;
    }
    (depth == 0).then_some(at)
}

/// Where the text that starts at `start` has its closing quote.
fn text_end(items: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        match items.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}
