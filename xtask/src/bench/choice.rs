//! The choice of some of the measures.

use super::catalogue::measures;
use super::measure::Measure;

/// First words that stand for all measures which begin with them.
const FAMILIES: [&str; 6] = ["amqp", "inspect", "python", "redis", "sqlite", "worker"];

/// The measures that `names` ask for: by name, by the first word of several, or all if none is given.
pub(super) fn picked(names: &[String]) -> Result<Vec<&'static Measure>, String> {
    let asks = |name: &str, measure: &Measure| {
        measure.name == name
            || (FAMILIES.contains(&name)
                && measure
                    .name
                    .split_once('-')
                    .is_some_and(|(first, _)| first == name))
    };
    for name in names {
        if !measures().any(|measure| asks(name, measure)) {
            let known: Vec<_> = measures().map(|measure| measure.name).collect();
            return Err(format!(
                "no measure `{name}`; there are {}",
                known.join(", ")
            ));
        }
    }
    let wanted = |m: &&Measure| names.is_empty() || names.iter().any(|name| asks(name, m));
    Ok(measures().filter(wanted).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(asked: &[&str]) -> Result<Vec<&'static str>, String> {
        let asked: Vec<_> = asked.iter().map(|&name| name.to_owned()).collect();
        Ok(picked(&asked)?.iter().map(|measure| measure.name).collect())
    }

    #[test]
    fn measures_are_picked_in_the_order_of_the_table() {
        assert_eq!(names(&["sum", "primes"]).unwrap(), ["primes", "sum"]);
        assert_eq!(names(&[]).unwrap().len(), measures().count());
    }

    #[test]
    fn the_first_word_of_a_family_stands_for_all_of_it() {
        let found = names(&["sqlite"]).unwrap();
        assert_eq!(found, ["sqlite-enqueue", "sqlite-cycle", "sqlite-latency"]);
        let found = names(&["worker", "amqp"]).unwrap();
        let of_both = |name: &&str| name.starts_with("worker-") || name.starts_with("amqp-");
        let all = measures().map(|measure| measure.name);
        let all: Vec<_> = all.filter(of_both).collect();
        assert_eq!(found, all);
        for name in [
            "worker-memory",
            "amqp-drain",
            "amqp-kill9",
            "amqp-eta-single",
        ] {
            assert!(found.contains(&name), "{name}");
        }
        for no_family in ["empty", "power"] {
            assert!(names(&[no_family]).is_err());
        }
    }

    #[test]
    fn an_unknown_measure_is_refused_with_the_list() {
        let error = names(&["prime"]).unwrap_err();
        assert!(
            error.starts_with("no measure `prime`; there are primes, sum"),
            "{error}"
        );
    }
}
