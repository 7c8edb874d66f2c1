//! What the variables of the environment ask for, as far as the exporter does not read them itself.

use std::path::PathBuf;
use std::time::Duration;

use crate::TracesError;

/// What OTLP over HTTP is called.
const SPOKEN: &str = "http/protobuf";
/// How long a batch may take to be sent, unless it is said.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The environment.
pub(crate) struct Environment<F>(F);

/// What it comes to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// How long a batch may take to be sent.
    pub(crate) timeout: Duration,
    /// Whether the service has a name.
    pub(crate) is_named: bool,
    /// Authorities that a collector is trusted by, in place of the usual ones.
    pub(crate) authorities: Option<PathBuf>,
}

impl<F: Fn(&str) -> Option<String>> Environment<F> {
    pub(crate) fn of(variables: F) -> Self {
        Self(variables)
    }

    /// Nothing, if no traces are to be exported.
    pub(crate) fn settings(&self) -> Result<Option<Settings>, TracesError> {
        let is_off = self
            .value("OTEL_SDK_DISABLED")
            .is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let exporter = self.value("OTEL_TRACES_EXPORTER");
        let has_endpoint = self.of_traces("ENDPOINT").is_some();
        if is_off || !has_endpoint || exporter.is_some_and(|name| name != "otlp") {
            return Ok(None);
        }
        for variable in [
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
            "OTEL_EXPORTER_OTLP_PROTOCOL",
        ] {
            match self.value(variable) {
                None => {}
                Some(protocol) if protocol == SPOKEN => break,
                Some(protocol) => return Err(TracesError::Protocol { variable, protocol }),
            }
        }
        let timeout = self.of_traces("TIMEOUT");
        let millis = timeout.and_then(|millis| millis.parse().ok());
        let attributes = self.value("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
        let has_name = |one: &str| one.trim_start().starts_with("service.name=");
        Ok(Some(Settings {
            timeout: millis.map_or(TIMEOUT, Duration::from_millis),
            is_named: self.value("OTEL_SERVICE_NAME").is_some()
                || attributes.split(',').any(has_name),
            authorities: self.of_traces("CERTIFICATE").map(PathBuf::from),
        }))
    }

    /// What is said for traces, or else for everything.
    fn of_traces(&self, what: &str) -> Option<String> {
        self.value(&format!("OTEL_EXPORTER_OTLP_TRACES_{what}"))
            .or_else(|| self.value(&format!("OTEL_EXPORTER_OTLP_{what}")))
    }

    /// A variable that is empty is not set.
    fn value(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://box:4318");

    fn settings(variables: &[(&str, &str)]) -> Result<Option<Settings>, String> {
        let find = |name: &str| {
            let found = variables.iter().find(|(one, _)| *one == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let settings = Environment::of(find).settings();
        settings.map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_is_on_unless_it_is_said_where_traces_go() {
        for variables in [
            &[][..],
            &[("OTEL_SERVICE_NAME", "shop")],
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", "")],
            &[ENDPOINT, ("OTEL_SDK_DISABLED", "True")],
            &[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")],
        ] {
            assert_eq!(settings(variables), Ok(None), "{variables:?}");
        }
    }

    #[test]
    fn what_is_said_for_traces_comes_first() {
        let found = settings(&[
            ENDPOINT,
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "2000"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "3000"),
            ("OTEL_RESOURCE_ATTRIBUTES", "a=b, service.name=shop"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf"),
        ]);
        let wanted = Settings {
            timeout: Duration::from_secs(3),
            is_named: true,
            authorities: None,
        };
        assert_eq!(found, Ok(Some(wanted)));
    }

    #[test]
    fn another_protocol_is_refused_by_name() {
        let refused = settings(&[ENDPOINT, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]);
        let text =
            "OTEL_EXPORTER_OTLP_PROTOCOL asks for `grpc`, and only `http/protobuf` is spoken";
        assert_eq!(refused, Err(text.to_owned()));
    }
}
