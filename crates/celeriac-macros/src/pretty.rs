//! Types as people write them, from tokens that have lost their spaces.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::ToTokens;

/// The text of a type: `BTreeMap<String, (u8, &str)>`.
pub(crate) fn pretty(tokens: impl ToTokens) -> String {
    let mut text = String::new();
    write(tokens.into_token_stream(), &mut text);
    text
}

fn write(tokens: TokenStream, text: &mut String) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::None => ("", ""),
                };
                text.push_str(open);
                write(group.stream(), text);
                text.truncate(text.trim_end().len());
                text.push_str(close);
            }
            TokenTree::Punct(punct) => match punct.as_char() {
                ',' | ';' => {
                    text.push(punct.as_char());
                    text.push(' ');
                }
                '>' if text.ends_with('-') => {
                    text.truncate(text.len() - 1);
                    text.push_str(" -> ");
                }
                operator @ ('+' | '=') => {
                    text.push(' ');
                    text.push(operator);
                    text.push(' ');
                }
                '>' => {
                    // A trailing comma before it leaves a space behind.
                    text.truncate(text.trim_end().len());
                    text.push('>');
                }
                other => text.push(other),
            },
            word @ (TokenTree::Ident(_) | TokenTree::Literal(_)) => {
                if text.ends_with(|last: char| last.is_alphanumeric() || last == '_') {
                    text.push(' ');
                }
                text.push_str(&word.to_string());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::pretty;

    #[test]
    fn types_are_written_as_by_hand() {
        for text in [
            "u64",
            "&str",
            "&[u8]",
            "[u8; 4]",
            "()",
            "(u8, String)",
            "std::collections::BTreeMap<String, Vec<(u8, &str)>>",
            "Cow<'static, str>",
            "Box<dyn Fn(u8) -> u8 + Send>",
            "Option<Box<dyn Iterator<Item = u8>>>",
            "<T as Trait>::Item",
        ] {
            let tokens: proc_macro2::TokenStream = text.parse().unwrap();
            assert_eq!(pretty(tokens), text);
        }
    }
}
