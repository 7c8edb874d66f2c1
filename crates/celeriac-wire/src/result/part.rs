//! A part of a chord, as Celery's Redis backend keeps it until the chord is complete.

use celeriac_core::{StoredResult, Tree};
use jiff::Timestamp;

use super::{ResultError, decode, encode, format};

/// `[1, id, state, result]`.
pub(super) fn tree(stored: &StoredResult) -> Result<Tree, ResultError> {
    let meta = Tree::parse(&encode(stored)?).expect("it was just written");
    let field = |name| meta.get(name).cloned().unwrap_or(Tree::Null);
    Ok(Tree::List(vec![
        Tree::Number("1".into()),
        Tree::Text(stored.id.to_string()),
        field("status"),
        field("result"),
    ]))
}

/// Reads what a Celery worker or [`ResultFormat::encode_part`](super::ResultFormat::encode_part) stored.
///
/// # Errors
///
/// [`ResultError`] if the bytes are no part of a chord.
pub fn decode_part(bytes: &[u8], now: Timestamp) -> Result<StoredResult, ResultError> {
    let wrong = || ResultError::Field("part");
    let Tree::List(fields) = format::read(&format::inflated(bytes)?)? else {
        return Err(wrong());
    };
    let [_, id, state, value] = <[Tree; 4]>::try_from(fields).map_err(|_| wrong())?;
    let meta = Tree::Map(vec![
        ("status".to_owned(), state),
        ("result".to_owned(), value),
        ("task_id".to_owned(), id),
    ]);
    decode(meta.to_json().as_bytes(), now)
}

#[cfg(test)]
mod tests {
    use celeriac_core::ResultState;

    use super::*;

    #[test]
    fn a_part_is_read_as_celery_wrote_it() {
        let now = Timestamp::UNIX_EPOCH;
        let good = decode_part(br#"[1, "a", "SUCCESS", {"x": [2]}]"#, now).unwrap();
        assert_eq!((good.id, good.state), ("a".into(), ResultState::Success));
        let bad = br#"[1, "b", "FAILURE", {"exc_type": "ValueError", "exc_message": ["boom", 42], "exc_module": "builtins"}]"#;
        let bad = decode_part(bad, now).unwrap();
        assert_eq!(bad.error.unwrap().type_name(), "ValueError");
        for nothing in [&b"\x80\x04."[..], b"[]", b"[1,2,3,4]", b"{}", b""] {
            assert!(decode_part(nothing, now).is_err(), "{nothing:?}");
        }
    }
}
