//! What stands between an attribute's parentheses: `key = value, …`.

use proc_macro2::TokenStream;
use syn::ext::IdentExt as _;
use syn::parse::{ParseStream, Parser as _};
use syn::{Expr, ExprLit, Ident, Lit, Token};

use crate::errors::Errors;

/// The options an attribute knows: the name of each, and an example of its use.
pub(crate) type Known = [(&'static str, &'static str)];

/// One option as given.
pub(crate) struct Given {
    pub(crate) key: Ident,
    pub(crate) value: Expr,
    example: &'static str,
}

impl Given {
    /// The value, which must be a string literal.
    pub(crate) fn text(&self) -> syn::Result<String> {
        match self.literal() {
            Some(Lit::Str(text)) => Ok(text.value()),
            _ => Err(self.wrong("takes text in quotes")),
        }
    }

    /// The value, which must be a whole number of at most `most`.
    pub(crate) fn number(&self, least: u32, most: u32) -> syn::Result<u32> {
        let number = match self.literal() {
            Some(Lit::Int(number)) => number.base10_parse::<u32>().ok(),
            _ => None,
        };
        number
            .filter(|number| (least..=most).contains(number))
            .ok_or_else(|| self.wrong(&format!("takes a whole number, {least} to {most}")))
    }

    /// The value, which must be `true` or `false`.
    pub(crate) fn flag(&self) -> syn::Result<bool> {
        match self.literal() {
            Some(Lit::Bool(flag)) => Ok(flag.value),
            _ => Err(self.wrong("takes `true` or `false`")),
        }
    }

    /// The path in quotes that is the value.
    pub(crate) fn path(&self) -> syn::Result<syn::Path> {
        syn::parse_str(&self.text()?).map_err(|_| self.wrong("takes a path in quotes"))
    }

    /// The error that the value `reason`, with an example of a right one.
    pub(crate) fn wrong(&self, reason: &str) -> syn::Error {
        self.error(format!(
            "`{}` {reason}, such as `{}`",
            self.key.unraw(),
            self.example
        ))
    }

    /// An error at the value.
    pub(crate) fn error(&self, message: impl std::fmt::Display) -> syn::Error {
        syn::Error::new_spanned(&self.value, message)
    }

    fn literal(&self) -> Option<&Lit> {
        let mut value = &self.value;
        // What a `macro_rules!` passes on comes in an invisible group.
        while let Expr::Group(group) = value {
            value = &group.expr;
        }
        match value {
            Expr::Lit(ExprLit { lit, .. }) => Some(lit),
            _ => None,
        }
    }
}

/// Reads the options of an attribute; what is wrong with them is added to `errors`.
pub(crate) fn parse(tokens: TokenStream, known: &Known, errors: &mut Errors) -> Vec<Given> {
    let mut options: Vec<Given> = Vec::new();
    let mut list = Vec::new();
    errors.take((|input: ParseStream<'_>| all(input, known, &mut list)).parse2(tokens));
    for option in list {
        match option {
            Err(error) => errors.push(error),
            Ok(option) if options.iter().any(|other| other.key == option.key) => {
                errors.at(
                    &option.key,
                    format!("`{}` is given twice; keep one of them", option.key.unraw()),
                );
            }
            Ok(option) => options.push(option),
        }
    }
    options
}

fn all(
    input: ParseStream<'_>,
    known: &Known,
    list: &mut Vec<syn::Result<Given>>,
) -> syn::Result<()> {
    while !input.is_empty() {
        list.push(one(input, known)?);
        if !input.is_empty() {
            input.parse::<Token![,]>()?;
        }
    }
    Ok(())
}

/// One option: the outer error ends the reading, the inner one does not.
fn one(input: ParseStream<'_>, known: &Known) -> syn::Result<syn::Result<Given>> {
    let key = input.call(Ident::parse_any).map_err(|error| {
        syn::Error::new(
            error.span(),
            "expected an option, such as `".to_owned() + known[0].1 + "`",
        )
    })?;
    let example = known
        .iter()
        .find(|(name, _)| key.unraw() == name)
        .map(|(_, example)| *example);
    if !input.peek(Token![=]) {
        return Ok(Err(match example {
            None => unknown(&key, known),
            Some(example) => syn::Error::new_spanned(
                &key,
                format!("`{}` needs a value, such as `{example}`", key.unraw()),
            ),
        }));
    }
    input.parse::<Token![=]>()?;
    let value = input.parse()?;
    Ok(match example {
        None => Err(unknown(&key, known)),
        Some(example) => Ok(Given {
            key,
            value,
            example,
        }),
    })
}

fn unknown(key: &Ident, known: &Known) -> syn::Error {
    let name = key.unraw().to_string();
    let nearest = known
        .iter()
        .map(|(other, _)| (distance(&name, other), *other))
        .min()
        .filter(|(distance, other)| *distance <= other.len() / 2);
    let suggestion = nearest.map_or_else(String::new, |(_, other)| {
        format!(", did you mean `{other}`?")
    });
    let names: Vec<_> = known.iter().map(|(other, _)| *other).collect();
    syn::Error::new_spanned(
        key,
        format!(
            "there is no option `{name}`{suggestion}; the options are {}",
            names.join(", ")
        ),
    )
}

/// How many letters must be put in, taken out or changed to get from `a` to `b`.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, left) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in b.chars().enumerate() {
            let changed = diagonal + usize::from(left != right);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.chars().count()]
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn distance_counts_single_letters() {
        for (a, b, steps) in [
            ("", "", 0),
            ("retry", "retries", 3),
            ("quue", "queue", 1),
            ("time_limt", "time_limit", 1),
            ("abc", "", 3),
            ("priorty", "priority", 1),
        ] {
            assert_eq!(distance(a, b), steps, "{a} {b}");
            assert_eq!(distance(b, a), steps, "{b} {a}");
        }
    }
}
