//! Durations as people write them: `500ms`, `30s`, `5m`, `1h30m`, `2d`.

use std::time::Duration;

use proc_macro2::TokenStream;
use quote::quote;

/// Reads numbers with units, which add up.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    read(text.trim()).map(Duration::from_millis).ok_or_else(|| {
        format!(
            "`{text}` is no duration; write whole numbers with units, such as 500ms, 30s, 5m, \
             1h30m or 2d"
        )
    })
}

fn read(mut rest: &str) -> Option<u64> {
    let mut total_ms: Option<u64> = None;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let unit = tail
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        let ms = number.parse::<u64>().ok()?.checked_mul(unit_ms(unit)?)?;
        total_ms = Some(total_ms.unwrap_or(0).checked_add(ms)?);
        rest = tail;
    }
    total_ms
}

fn unit_ms(unit: &str) -> Option<u64> {
    Some(match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    })
}

/// The expression that is `duration`.
pub(crate) fn expression(duration: Duration) -> TokenStream {
    let ms = u64::try_from(duration.as_millis()).expect("it was read as a u64 of milliseconds");
    quote!(::core::time::Duration::from_millis(#ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_with_units_add_up() {
        for (text, ms) in [
            ("500ms", 500),
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("2d", 172_800_000),
            (" 1m1s1ms ", 61_001),
            ("0s", 0),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "5",
            "s",
            "-1s",
            "1.5s",
            "1 s",
            "5min",
            "1h30",
            "99999999999999999999s",
            "999999999999999999d",
            "ös",
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains("1h30m"), "{text}: {error}");
        }
    }
}
