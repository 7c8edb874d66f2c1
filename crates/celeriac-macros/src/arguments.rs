//! The parameters of a task: what of each travels, and how the function gets it.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident, quote};
use syn::ext::IdentExt as _;
use syn::punctuated::Punctuated;
use syn::{FnArg, Ident, Pat, PatType, Token, Type, TypeReference};

use crate::errors::Errors;
use crate::pretty::pretty;
use crate::task_type::{bare, is_named, obstacle, owned_cow};

/// The most arguments: serde's longest tuple.
const MOST: usize = 16;

/// One parameter of the function.
pub(crate) enum Parameter {
    /// It travels.
    Argument(Argument),
    /// It is the context of the execution, lent or owned.
    Context { lent: bool },
}

/// A parameter that travels.
pub(crate) struct Argument {
    /// Its name, for `call` and for named arguments.
    pub(crate) name: Ident,
    /// Its type as written, for people.
    shown: String,
    /// The owned type it travels as.
    pub(crate) owned: TokenStream,
    /// Whether `call` takes anything that converts into the owned type.
    pub(crate) converts: bool,
    /// Whether the function is lent it.
    pub(crate) lent: bool,
}

impl Argument {
    /// `order: u64`.
    pub(crate) fn signature(&self) -> String {
        format!("{}: {}", self.name.unraw(), self.shown)
    }
}

/// Reads the parameters of a function; those that cannot be a task's are added to `errors`.
pub(crate) fn read(inputs: &Punctuated<FnArg, Token![,]>, errors: &mut Errors) -> Vec<Parameter> {
    let mut parameters = Vec::new();
    for input in inputs {
        match input {
            FnArg::Receiver(receiver) => errors.at(
                receiver,
                "a task is a free function and has no `self`; move it out of the `impl` and take \
                 what it needs as arguments",
            ),
            FnArg::Typed(typed) => parameters.extend(errors.take(one(typed, inputs))),
        }
    }
    let mut contexts = inputs.iter().filter(|input| match input {
        FnArg::Typed(typed) => context(&typed.ty).is_some(),
        FnArg::Receiver(_) => false,
    });
    if let (Some(_), Some(second)) = (contexts.next(), contexts.next()) {
        errors.at(second, "a task has one context; remove this parameter");
    }
    let arguments = parameters
        .iter()
        .filter(|parameter| matches!(parameter, Parameter::Argument(_)));
    if arguments.count() > MOST {
        errors.at(
            inputs,
            format!("a task takes at most {MOST} arguments; put some of them into a struct"),
        );
    }
    parameters
}

/// Whether the type is the context, and then whether it is lent.
fn context(ty: &Type) -> Option<bool> {
    match bare(ty) {
        Type::Reference(TypeReference {
            mutability: None,
            elem,
            ..
        }) => is_named(elem, "Context").then_some(true),
        owned => is_named(owned, "Context").then_some(false),
    }
}

fn one(typed: &PatType, inputs: &Punctuated<FnArg, Token![,]>) -> syn::Result<Parameter> {
    if let Some(lent) = context(&typed.ty) {
        return Ok(Parameter::Context { lent });
    }
    let name = name(&typed.pat, inputs)?;
    let passing = match bare(&typed.ty) {
        Type::Reference(reference) => lent(reference, typed)?,
        owned => {
            let (owned, converts) = match owned_cow(owned) {
                Some(cow) => (cow, true),
                None => (owned.clone(), false),
            };
            check(&owned, typed)?;
            Passing {
                owned: owned.into_token_stream(),
                converts,
                lent: false,
            }
        }
    };
    Ok(Parameter::Argument(Argument {
        name,
        shown: pretty(&typed.ty),
        owned: passing.owned,
        converts: passing.converts,
        lent: passing.lent,
    }))
}

struct Passing {
    owned: TokenStream,
    converts: bool,
    lent: bool,
}

/// What travels for a parameter that is a reference.
fn lent(reference: &TypeReference, typed: &PatType) -> syn::Result<Passing> {
    let refuse = |message: &str| Err(syn::Error::new_spanned(&typed.ty, message));
    if reference.mutability.is_some() {
        return refuse(
            "a task cannot change its caller's value, which may be on another machine; take it by \
             value and return the changed one",
        );
    }
    if let Some(lifetime) = &reference.lifetime
        && lifetime.ident != "_"
    {
        return refuse("a task is lent its arguments only while it runs; leave the lifetime out");
    }
    let (owned, converts) = match bare(&reference.elem) {
        Type::Slice(slice) => {
            check(&slice.elem, typed)?;
            let element = &slice.elem;
            (quote!(::std::vec::Vec<#element>), true)
        }
        elem if is_named(elem, "str") => (quote!(::std::string::String), true),
        elem if is_named(elem, "Path") => (quote!(::std::path::PathBuf), true),
        elem => {
            check(elem, typed)?;
            (elem.to_token_stream(), false)
        }
    };
    Ok(Passing {
        owned,
        converts,
        lent: true,
    })
}

fn check(owned: &Type, typed: &PatType) -> syn::Result<()> {
    match obstacle(owned) {
        Some(message) => Err(syn::Error::new_spanned(&typed.ty, message)),
        None => Ok(()),
    }
}

/// The parameter's name; one is made up for `_`.
fn name(pattern: &Pat, inputs: &Punctuated<FnArg, Token![,]>) -> syn::Result<Ident> {
    match pattern {
        Pat::Ident(plain) if plain.by_ref.is_none() && plain.subpat.is_none() => {
            // Located at the parameter, but known as ours, so that lints leave it alone.
            let mut name = plain.ident.clone();
            name.set_span(name.span().resolved_at(Span::call_site()));
            Ok(name)
        }
        Pat::Wild(wild) => Ok(made_up(wild, inputs)),
        other => Err(syn::Error::new_spanned(
            other,
            "a task's parameter needs a name, by which arguments can be given; take it whole and \
             destructure it in the body",
        )),
    }
}

/// `arg1` for the first parameter, with underscores behind if that is taken.
fn made_up(wild: &syn::PatWild, inputs: &Punctuated<FnArg, Token![,]>) -> Ident {
    let position = inputs.iter().position(|input| match input {
        FnArg::Typed(typed) => matches!(&*typed.pat, Pat::Wild(other) if std::ptr::eq(other, wild)),
        FnArg::Receiver(_) => false,
    });
    let mut name = format_ident!("arg{}", position.map_or(1, |position| position + 1));
    let taken = |name: &Ident| {
        inputs.iter().any(|input| match input {
            FnArg::Typed(typed) => matches!(&*typed.pat, Pat::Ident(other) if other.ident == *name),
            FnArg::Receiver(_) => false,
        })
    };
    while taken(&name) {
        name = format_ident!("{name}_");
    }
    name
}
