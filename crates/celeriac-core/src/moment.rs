//! Points in time as Celery writes them in headers and results.
//!
//! # Sources
//!
//! The accepted forms are those of Python's `datetime.isoformat` and of ISO 8601 in general; that a
//! time without an offset is in UTC is Celery's default.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use serde::Serializer;

/// A text that is no point in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it is no ISO 8601 date and time")]
pub struct NoMoment;

/// Reads a date and time with an offset, with `Z`, or with neither, which means UTC.
///
/// ```
/// # use celeriac_core::moment;
/// let east = moment::read("2030-01-02T05:34:05+05:30").unwrap();
/// assert_eq!(east, moment::read("2030-01-02T00:04:05").unwrap());
/// assert_eq!(moment::show(east).to_string(), "2030-01-02T00:04:05+00:00");
/// ```
///
/// # Errors
///
/// [`NoMoment`], which does not repeat the text.
pub fn read(text: &str) -> Result<Timestamp, NoMoment> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    // What has an offset but is no time stamp must not be taken for a naive time.
    let naive: DateTime = text.parse().map_err(|_| NoMoment)?;
    let time_part = text.get(10..).unwrap_or_default();
    if time_part.contains(['+', '-', 'Z', 'z', '[']) {
        return Err(NoMoment);
    }
    let zoned = naive.to_zoned(TimeZone::UTC).map_err(|_| NoMoment)?;
    Ok(zoned.timestamp())
}

/// `at` in UTC as Python's `isoformat` has it: whole seconds or microseconds, then `+00:00`.
pub fn show(at: Timestamp) -> impl fmt::Display {
    struct Shown(Timestamp);

    impl fmt::Display for Shown {
        fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            let at = Offset::UTC.to_datetime(self.0);
            write!(
                formatter,
                "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
                at.year(),
                at.month(),
                at.day(),
                at.hour(),
                at.minute(),
                at.second()
            )?;
            match at.subsec_nanosecond() / 1000 {
                0 => {}
                us => write!(formatter, ".{us:06}")?,
            }
            formatter.write_str("+00:00")
        }
    }

    Shown(at)
}

#[allow(
    clippy::ref_option,
    reason = "serde calls it with a reference to the field"
)]
pub(crate) fn serialize<S: Serializer>(
    at: &Option<Timestamp>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => serializer.collect_str(&show(*at)),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_python_writes_is_read() {
        let expected: Timestamp = "2030-01-02T03:04:05.678Z".parse().unwrap();
        for text in [
            "2030-01-02T03:04:05.678000+00:00",
            "2030-01-02T03:04:05.678",
            "2030-01-02T08:34:05.678+05:30",
            "2030-01-02 03:04:05.678Z",
            "2030-01-01T19:04:05.678-08:00",
        ] {
            assert_eq!(read(text), Ok(expected), "{text}");
        }
        assert_eq!(
            show(read("2030-01-02").unwrap()).to_string(),
            "2030-01-02T00:00:00+00:00"
        );
    }

    #[test]
    fn what_is_written_is_read_to_the_microsecond() {
        for us in [0, 1, -1, 999_999, 1_795_202_908_549_225] {
            let at = Timestamp::from_microsecond(us).unwrap();
            assert_eq!(read(&show(at).to_string()), Ok(at));
        }
        assert!(read(&show(Timestamp::MAX).to_string()).is_ok());
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "soon",
            "1795202908",
            "2030-13-01T00:00:00",
            "2030-01-02T03:04:05+99:99",
        ] {
            assert_eq!(read(text), Err(NoMoment), "{text}");
        }
    }
}
