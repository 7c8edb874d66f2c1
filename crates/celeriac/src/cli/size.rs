//! Sizes of memory on the command line.

use std::num::NonZeroU64;

/// Reads `200M`, `2G` or `65536K`, in powers of 1,024; a bare number is in KiB, as in Celery.
pub(super) fn size_bytes(text: &str) -> Result<NonZeroU64, String> {
    let upper = text.trim().to_ascii_uppercase();
    let short = upper.trim_end_matches("IB").trim_end_matches('B');
    let (number, factor) = match short.char_indices().last() {
        Some((at, 'K')) => (&short[..at], 1_u64 << 10),
        Some((at, 'M')) => (&short[..at], 1 << 20),
        Some((at, 'G')) => (&short[..at], 1 << 30),
        _ => (short, 1 << 10),
    };
    let whole = number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(factor));
    whole
        .and_then(NonZeroU64::new)
        .ok_or_else(|| "write a whole number and a unit, such as 200M or 2G".to_owned())
}

#[cfg(test)]
mod tests {
    use super::size_bytes;

    #[test]
    fn sizes_are_read_in_their_unit() {
        for (text, bytes) in [
            ("200M", 200 << 20),
            ("2GiB", 2 << 30),
            ("64kb", 65_536),
            ("1", 1024),
        ] {
            assert_eq!(size_bytes(text).unwrap().get(), bytes, "{text}");
        }
        for bad in ["", "0", "M", "-1M", "1T", "99999999999999999999G", "1.5G"] {
            assert!(size_bytes(bad).is_err(), "{bad}");
        }
    }
}
