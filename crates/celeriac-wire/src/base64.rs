//! Base64 as kombu writes it: the standard alphabet, padded.

use base64_simd::STANDARD;

/// Appends the base64 text of `bytes` to `out`.
pub(crate) fn append(bytes: &[u8], out: &mut Vec<u8>) {
    STANDARD.encode_append(bytes, out);
}

/// The bytes that `text` stands for. Line breaks, which Python skips, are skipped.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    match STANDARD.decode_to_vec(text) {
        Ok(bytes) => Some(bytes),
        Err(_) if text.contains(['\n', '\r', ' ']) => {
            base64_simd::forgiving_decode_to_vec(text.as_bytes()).ok()
        }
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_survive_and_line_breaks_are_skipped() {
        let mut out = Vec::new();
        append(b"\xff\xfe\x00", &mut out);
        assert_eq!(out, b"//4A");
        assert_eq!(decode("//4A").as_deref(), Some(&b"\xff\xfe\x00"[..]));
        assert_eq!(decode("//\n4A\n").as_deref(), Some(&b"\xff\xfe\x00"[..]));
        assert_eq!(decode("not base64!"), None);
    }
}
