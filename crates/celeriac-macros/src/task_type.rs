//! The types in a task's signature: what they mean, and which of them cannot travel.

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::{GenericArgument, Lifetime, PathArguments, PathSegment, Type, parse_quote};

/// The type without the invisible groups and parentheses around it.
pub(crate) fn bare(mut ty: &Type) -> &Type {
    loop {
        ty = match ty {
            Type::Group(group) => &group.elem,
            Type::Paren(paren) => &paren.elem,
            _ => return ty,
        };
    }
}

/// The last segment of a type that is a path: the `Result<u8>` of `std::io::Result<u8>`.
pub(crate) fn last_segment(ty: &Type) -> Option<&PathSegment> {
    match bare(ty) {
        Type::Path(path) if path.qself.is_none() => path.path.segments.last(),
        _ => None,
    }
}

/// Whether it is a path that ends in `name`, without generic arguments.
pub(crate) fn is_named(ty: &Type, name: &str) -> bool {
    last_segment(ty).is_some_and(|last| last.ident == name && last.arguments.is_none())
}

/// `Cow<'static, T>` for a `Cow<'_, T>` or a `Cow<T>`; nothing for another type.
pub(crate) fn owned_cow(ty: &Type) -> Option<Type> {
    if last_segment(ty)?.ident != "Cow" {
        return None;
    }
    let Type::Path(mut path) = bare(ty).clone() else {
        return None;
    };
    let PathArguments::AngleBracketed(arguments) = &mut path.path.segments.last_mut()?.arguments
    else {
        return None;
    };
    let everlasting: Lifetime = parse_quote!('static);
    match arguments.args.first_mut()? {
        GenericArgument::Lifetime(lifetime) => *lifetime = everlasting,
        _ => arguments
            .args
            .insert(0, GenericArgument::Lifetime(everlasting)),
    }
    Some(Type::Path(path))
}

/// Why values of this type cannot be sent, with the remedy; nothing if nothing in its text says so.
pub(crate) fn obstacle(ty: &impl ToTokens) -> Option<&'static str> {
    search(ty.to_token_stream())
}

fn search(tokens: TokenStream) -> Option<&'static str> {
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let found = match token {
            TokenTree::Group(group) => search(group.stream()),
            TokenTree::Punct(punct) => match punct.as_char() {
                '&' => Some(
                    "a reference inside a type cannot be sent; use an owned type, such as \
                     `Option<String>` for `Option<&str>`",
                ),
                '\'' if !tokens.peek().is_some_and(is_static) => {
                    Some("a type that borrows cannot be sent; use one that owns what it holds")
                }
                _ => None,
            },
            TokenTree::Ident(word) if word == "impl" => Some(
                "`impl Trait` leaves the type open, and what is sent must have one; name a \
                 concrete type",
            ),
            TokenTree::Ident(word) if word == "dyn" => {
                Some("a trait object cannot be sent; name a concrete type")
            }
            TokenTree::Ident(word) if word == "Self" => Some(
                "a task is a free function and has no `Self`; move it out of the `impl` and name \
                 the type",
            ),
            _ => None,
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

fn is_static(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Ident(word) if word == "static")
}
