//! How the two sides prove to each other that they know the key.
//!
//! ```text
//!  manager  magic, version, a number used once
//!  client   magic, at once; version, a number used once, role, session, proof
//!  manager  verdict, proof
//! ```
//!
//! A proof is an HMAC-SHA-256 by the key over who gives it and all that was said before, so one that was
//! overheard proves nothing in another handshake. All parts have fixed lengths.

use uuid::Uuid;

use super::key::Key;
use crate::cluster::state::Session;

/// The first of what each side says. It begins no record of TLS.
pub(super) const MAGIC: [u8; 8] = *b"celery\x00m";

/// Of this side's way to speak.
pub(super) const VERSION: u16 = 1;

/// How many bytes the first words of the manager have.
pub(super) const GREETING: usize = 8 + 2 + 32;

/// How many bytes the words of the client have.
pub(super) const ANSWER: usize = 8 + 2 + 32 + 1 + 8 + 32;

/// How many bytes the last words of the manager have.
pub(super) const VERDICT: usize = 1 + 32;

const CLIENT: &[u8] = b"celeriac client";
const MANAGER: &[u8] = b"celeriac manager";

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Sends batches.
    Calls,
    /// Is told of answers.
    Ear,
    /// Only looks whether the keys are the same.
    Probe,
}

/// What a manager thinks of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Welcome,
    OtherVersion,
    WrongKey,
    TooMany,
}

impl Role {
    fn code(self) -> u8 {
        match self {
            Self::Calls => 0,
            Self::Ear => 1,
            Self::Probe => 2,
        }
    }

    fn of(code: u8) -> Option<Self> {
        [Self::Calls, Self::Ear, Self::Probe]
            .into_iter()
            .find(|role| role.code() == code)
    }
}

impl Verdict {
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Welcome => 0,
            Self::OtherVersion => 1,
            Self::WrongKey => 2,
            Self::TooMany => 3,
        }
    }
}

/// A number that is used once.
fn nonce() -> [u8; 32] {
    let mut nonce = [0; 32];
    nonce[..16].copy_from_slice(Uuid::new_v4().as_bytes());
    nonce[16..].copy_from_slice(Uuid::new_v4().as_bytes());
    nonce
}

/// The first words of a manager.
pub(super) fn greet() -> [u8; GREETING] {
    let mut words = [0; GREETING];
    words[..8].copy_from_slice(&MAGIC);
    words[8..10].copy_from_slice(&VERSION.to_be_bytes());
    words[10..].copy_from_slice(&nonce());
    words
}

/// Whether these words begin as those of the same program and version do; `None` if it is another program.
pub(super) fn is_same_version(words: &[u8]) -> Option<bool> {
    let version = words.strip_prefix(&MAGIC)?.get(..2)?;
    Some(version == VERSION.to_be_bytes())
}

/// The words of a client to those of a manager.
pub(super) fn answer(
    key: &Key,
    greeting: &[u8; GREETING],
    role: Role,
    session: Session,
) -> [u8; ANSWER] {
    let mut words = [0; ANSWER];
    words[..8].copy_from_slice(&MAGIC);
    words[8..10].copy_from_slice(&VERSION.to_be_bytes());
    words[10..42].copy_from_slice(&nonce());
    words[42] = role.code();
    words[43..51].copy_from_slice(&session.to_be_bytes());
    let proof = key.prove(&[CLIENT, greeting, &words[..51]]);
    words[51..].copy_from_slice(&proof);
    words
}

/// What the client wants, and who it is, if it knows the key.
pub(super) fn admit(
    key: &Key,
    greeting: &[u8; GREETING],
    words: &[u8; ANSWER],
) -> Result<(Role, Session), Verdict> {
    if is_same_version(words) != Some(true) {
        return Err(Verdict::OtherVersion);
    }
    if !key.accepts(&[CLIENT, greeting, &words[..51]], &words[51..]) {
        return Err(Verdict::WrongKey);
    }
    let role = Role::of(words[42]).ok_or(Verdict::OtherVersion)?;
    let session = words[43..51]
        .iter()
        .fold(0, |session, byte| session << 8 | Session::from(*byte));
    Ok((role, session))
}

/// The last words of a manager. Only who is welcome gets a proof.
pub(super) fn judge(
    key: &Key,
    greeting: &[u8; GREETING],
    words: &[u8; ANSWER],
    verdict: Verdict,
) -> [u8; VERDICT] {
    let mut last = [0; VERDICT];
    last[0] = verdict.code();
    if verdict == Verdict::Welcome {
        last[1..].copy_from_slice(&key.prove(&[MANAGER, greeting, words]));
    }
    last
}

/// Whether the manager that says this is welcome knows the key too.
pub(super) fn trusts(
    key: &Key,
    greeting: &[u8; GREETING],
    words: &[u8; ANSWER],
    last: &[u8; VERDICT],
) -> bool {
    key.accepts(&[MANAGER, greeting, words], &last[1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_one_handshake_prove_nothing_in_another() {
        let key = Key::none();
        let (one, other) = (greet(), greet());
        let words = answer(&key, &one, Role::Calls, 7);
        assert_eq!(admit(&key, &one, &words), Ok((Role::Calls, 7)));
        assert_eq!(admit(&key, &other, &words), Err(Verdict::WrongKey));
        let last = judge(&key, &one, &words, Verdict::Welcome);
        assert!(trusts(&key, &one, &words, &last));
        assert!(!trusts(&key, &other, &words, &last));
    }

    #[test]
    fn another_role_or_session_than_was_proved_is_refused() {
        let (key, greeting) = (Key::none(), greet());
        for place in [42, 50] {
            let mut words = answer(&key, &greeting, Role::Calls, 7);
            words[place] ^= 1;
            assert_eq!(admit(&key, &greeting, &words), Err(Verdict::WrongKey));
        }
    }
}
