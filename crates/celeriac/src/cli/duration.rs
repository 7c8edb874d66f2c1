//! Durations on the command line.

use std::time::Duration;

/// Reads `90`, `1.5s`, `500ms`, `2m` or `1h`; a bare number is in seconds.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text
        .find(|c: char| c.is_ascii_alphabetic())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds = match unit {
        "ms" => 0.001,
        "s" | "" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86400.0,
        _ => return Err(format!("`{unit}` is no unit of time; use ms, s, m, h or d")),
    };
    number
        .trim()
        .parse::<f64>()
        .ok()
        .and_then(|number| Duration::try_from_secs_f64(number * seconds).ok())
        .ok_or_else(|| "write a number and a unit, such as 90s, 500ms or 2m".to_owned())
}

/// The same duration in its largest fitting unit, for people.
pub(super) fn show(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        _ if duration.subsec_nanos() > 0 && seconds < 60 => format!("{duration:.1?}"),
        0..=119 => format!("{seconds}s"),
        120..=7199 => format!("{}m", seconds / 60),
        7200..=172_799 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_shown() {
        for (text, duration_ms, shown) in [
            ("90", 90_000, "90s"),
            ("1.5s", 1500, "1.5s"),
            ("500ms", 500, "500.0ms"),
            ("2m", 120_000, "2m"),
            ("1h", 3_600_000, "60m"),
            ("3d", 259_200_000, "3d"),
        ] {
            let read = duration(text).unwrap();
            assert_eq!(read, Duration::from_millis(duration_ms));
            assert_eq!(show(read), shown);
        }
        for bad in ["", "x", "-1", "1w", "1e400", "nan", "1 year"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
