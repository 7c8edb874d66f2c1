//! The body of a call: `[args, kwargs, embed]`, of which only the last is understood here.
//!
//! # Invariants
//!
//! - The arguments are passed on to the letter, whatever they hold.

mod json;
mod msgpack;

use bytes::Bytes;
use celeriac_core::{ContentType, Payload, PayloadError, Tree};

use crate::fields::Fields;
use crate::signature::{Signature, SignatureError, into_list, several};

/// The parts of a body.
///
/// ```
/// use celeriac_core::{ContentType, Payload};
/// use celeriac_wire::Body;
///
/// let payload = Payload {
///     content_type: ContentType::Json,
///     bytes: r#"[[1e400], {}, {"chain": [{"task": "shop.next"}]}]"#.into(),
/// };
/// let mut body = Body::decode(&payload)?;
/// let next = body.embed.chain.pop().expect("there is a next step");
/// assert_eq!(next.task, "shop.next");
/// assert_eq!(&body.args[..], b"[1e400]");
/// # Ok::<(), celeriac_wire::BodyError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Body {
    /// What all three parts are encoded in: JSON, MessagePack or YAML.
    pub content_type: ContentType,
    /// The positional arguments, a list, as they are encoded.
    pub args: Bytes,
    /// The named arguments, a map, as they are encoded.
    pub kwargs: Bytes,
    /// What follows the call.
    pub embed: Embed,
}

/// What follows a call.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Embed {
    /// What is sent with its value.
    pub callbacks: Vec<Signature>,
    /// What is sent, or called, with its failure.
    pub errbacks: Vec<Signature>,
    /// The remaining steps of its chain in reverse: the next step is the last.
    pub chain: Vec<Signature>,
    /// The body of the chord that it is part of.
    pub chord: Option<Signature>,
    /// Fields that are not known here, as they came.
    pub extra: Fields,
}

/// Why a payload is no body of a call.
///
/// None of these repeats the arguments.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// It is in a content type that is not read here.
    #[error("a body of {0} is not read")]
    Opaque(&'static str),
    /// It is not what its content type says, or no list of three.
    #[error("it is no list of arguments, named arguments and workflow")]
    Shape,
    /// Its third part cannot be decoded.
    #[error("its workflow {0}")]
    Embed(#[from] PayloadError),
    /// What follows is no signature.
    #[error("its workflow: {0}")]
    Signature(#[from] SignatureError),
}

impl Body {
    /// Takes a body apart.
    ///
    /// # Errors
    ///
    /// [`BodyError`]. Arguments that nobody can read are no error here.
    pub fn decode(payload: &Payload) -> Result<Self, BodyError> {
        let content_type = payload.content_type;
        let [args, kwargs, embed] = match content_type {
            ContentType::Json => json::split(&payload.bytes),
            ContentType::Msgpack => msgpack::split(&payload.bytes),
            ContentType::Yaml => return Self::decode_tree(payload),
            other => return Err(BodyError::Opaque(other.as_str())),
        }
        .ok_or(BodyError::Shape)?;
        Ok(Self {
            content_type,
            args,
            kwargs,
            embed: Embed::from_tree(Tree::decode(content_type, &embed)?)?,
        })
    }

    /// The way of a content type in which the parts do not stand by themselves.
    fn decode_tree(payload: &Payload) -> Result<Self, BodyError> {
        let Tree::List(parts) = Tree::decode(payload.content_type, &payload.bytes)? else {
            return Err(BodyError::Shape);
        };
        let Ok([Tree::List(args), Tree::Map(kwargs), embed]) = <[Tree; 3]>::try_from(parts) else {
            return Err(BodyError::Shape);
        };
        let embed = Embed::from_tree(embed)?;
        Ok(Self::of(
            payload.content_type,
            &args,
            &Fields(kwargs),
            embed,
        ))
    }

    /// The body of a call with these arguments. A content type that is not written here gives way to
    /// JSON.
    pub fn of(content_type: ContentType, args: &[Tree], kwargs: &Fields, embed: Embed) -> Self {
        let content_type = match content_type {
            ContentType::Msgpack | ContentType::Yaml => content_type,
            _ => ContentType::Json,
        };
        Self {
            args: encode(content_type, Tree::List(args.to_vec())),
            kwargs: encode(content_type, Tree::Map(kwargs.0.clone())),
            content_type,
            embed,
        }
    }

    /// Puts it together again.
    pub fn encode(&self) -> Payload {
        let embed = encode(self.content_type, self.embed.clone().into_tree());
        let parts: [&[u8]; 3] = [&self.args, &self.kwargs, &embed];
        let bytes = match self.content_type {
            ContentType::Msgpack => [&[0x93][..], parts[0], parts[1], parts[2]].concat(),
            // JSON in one line is YAML too.
            _ => [b"[", parts[0], b", ", parts[1], b", ", parts[2], b"]"].concat(),
        };
        Payload {
            content_type: self.content_type,
            bytes: bytes.into(),
        }
    }
}

/// A tree in a content type that this module writes.
pub(crate) fn encode(content_type: ContentType, tree: Tree) -> Bytes {
    match content_type {
        ContentType::Msgpack => msgpack::encode(tree).into(),
        ContentType::Yaml => tree.to_yaml().into(),
        _ => tree.to_json().into(),
    }
}

impl Embed {
    /// Whether nothing follows.
    pub fn is_empty(&self) -> bool {
        self.callbacks.is_empty()
            && self.errbacks.is_empty()
            && self.chain.is_empty()
            && self.chord.is_none()
    }

    fn from_tree(tree: Tree) -> Result<Self, BodyError> {
        let mut extra = match tree {
            Tree::Null => Fields::default(),
            Tree::Map(fields) => Fields(fields),
            _ => return Err(BodyError::Shape),
        };
        let mut list = |name| several(extra.remove(name).unwrap_or(Tree::Null), name);
        Ok(Self {
            callbacks: list("callbacks")?,
            errbacks: list("errbacks")?,
            chain: list("chain")?,
            chord: match extra.remove("chord") {
                None | Some(Tree::Null) => None,
                Some(chord) => Some(Signature::from_tree(chord)?),
            },
            extra,
        })
    }

    fn into_tree(self) -> Tree {
        let list = |signatures: Vec<_>| match signatures.len() {
            0 => Tree::Null,
            _ => into_list(signatures),
        };
        let mut fields = vec![
            ("callbacks".to_owned(), list(self.callbacks)),
            ("errbacks".to_owned(), list(self.errbacks)),
            ("chain".to_owned(), list(self.chain)),
            (
                "chord".to_owned(),
                self.chord.map_or(Tree::Null, Signature::into_tree),
            ),
        ];
        fields.extend(self.extra.0);
        Tree::Map(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(content_type: ContentType, bytes: &[u8]) -> Result<Body, BodyError> {
        Body::decode(&Payload {
            content_type,
            bytes: Bytes::copy_from_slice(bytes),
        })
    }

    #[test]
    fn arguments_need_not_be_understood() {
        let text = br#"[[NaN, "]\"", 1e400, {"__type__": "x"}], {"a": [{}]}, null]"#;
        let body = decode(ContentType::Json, text).unwrap();
        assert_eq!(&body.args[..], br#"[NaN, "]\"", 1e400, {"__type__": "x"}]"#);
        assert_eq!(&body.kwargs[..], br#"{"a": [{}]}"#);
        assert!(body.embed.is_empty());
        let again = Body::decode(&body.encode()).unwrap();
        assert_eq!(again, body);
    }

    #[test]
    fn what_follows_is_read_and_written_in_messagepack() {
        let embed = Embed {
            callbacks: vec![Signature::new("next")],
            ..Embed::default()
        };
        let args = [Tree::Bytes(vec![0xff, 0]), Tree::Text("x".to_owned())];
        let body = Body::of(ContentType::Msgpack, &args, &Fields::default(), embed);
        let again = Body::decode(&body.encode()).unwrap();
        assert_eq!(again, body);
        assert_eq!(again.embed.callbacks[0].task, "next");
    }

    #[test]
    fn what_is_no_body_is_refused() {
        for text in [
            "",
            "[",
            "[]",
            "[[],{}]",
            "[[],{},{},{}]",
            "{}",
            "[[],{},7]",
            "[[] {} {}]",
            "[[],{},{}",
            "[[],{},{}]]",
            r#"[[],{},{"chain":7}]"#,
            r#"[[],{},{"chord":{"args":[]}}]"#,
            "[[],{},}]",
        ] {
            assert!(
                decode(ContentType::Json, text.as_bytes()).is_err(),
                "{text}"
            );
        }
        for bytes in [
            &b""[..],
            b"\x93",
            b"\x92\x90\x80",
            b"\x93\x90\x80\xc0\xc0",
            b"\x93\x91\x80\xc0",
        ] {
            assert!(decode(ContentType::Msgpack, bytes).is_err(), "{bytes:?}");
        }
        let pickle = decode(ContentType::Pickle, b"\x80\x04N.");
        assert!(matches!(pickle, Err(BodyError::Opaque(_))));
    }
}
