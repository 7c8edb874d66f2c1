//! What `#[task]` adds beside the function.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::ext::IdentExt as _;
use syn::{Attribute, Ident, ItemFn, Safety};

use crate::arguments::{self, Argument, Parameter};
use crate::elsewhere;
use crate::errors::Errors;
use crate::options::Options;
use crate::returns::Returns;

/// The expansion of `#[task]`: the function as written, and a task or compile errors beside it.
pub(crate) fn task(attribute: TokenStream, item: &TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let options = Options::parse(attribute, &mut errors);
    let own = syn::parse2::<ItemFn>(item.clone());
    let is_elsewhere = own.is_err();
    let parsed = own.or_else(|error| elsewhere::function(item, &options, &mut errors).ok_or(error));
    let function = match parsed {
        Ok(function) => function,
        Err(error) => {
            let error = if item.to_string().contains("fn ") {
                error
            } else {
                syn::Error::new_spanned(item, "`#[task]` goes on a function: `fn` or `async fn`")
            };
            errors.push(error);
            let errors = errors.into_compile_errors();
            return quote!(#item #errors);
        }
    };
    let item = if is_elsewhere {
        function.to_token_stream()
    } else {
        item.clone()
    };
    refuse(&function, &mut errors);
    let parameters = arguments::read(&function.sig.inputs, &mut errors);
    let returns = Returns::read(&function.sig.output, &mut errors);
    if let (Some(retry_if), Returns::Nothing | Returns::Plain(_)) = (&options.retry_if, &returns) {
        errors.at(
            retry_if,
            "`retry_if` looks at the task's error, and this task returns none; return a `Result`",
        );
    }
    if let Some(errors) = errors.into_compile_errors() {
        return quote!(#item #errors);
    }
    let expansion = Expansion {
        function: &function,
        options: &options,
        parameters: &parameters,
        returns: &returns,
        is_elsewhere,
    };
    let (marker, call, task) = (expansion.marker(), expansion.call(), expansion.task());
    let partial = expansion.partial();
    quote!(#item #marker #call #partial #task)
}

/// Adds what no task can be, apart from its parameters and what it returns.
fn refuse(function: &ItemFn, errors: &mut Errors) {
    let signature = &function.sig;
    if !signature.generics.params.is_empty() {
        errors.at(
            &signature.generics,
            "a task cannot be generic, because it is found by its name alone; name concrete \
             types, and write a task for each",
        );
    } else if let Some(clause) = &signature.generics.where_clause {
        errors.at(clause, "a task is not generic; remove the `where` clause");
    }
    if let Some(constness) = &signature.constness {
        errors.at(
            constness,
            "a task is run while the program runs; remove `const`",
        );
    }
    if let Safety::Unsafe(token) = &signature.safety {
        errors.at(
            token,
            "a task is called with whatever arrives and cannot be `unsafe`; wrap the call in a \
             safe function",
        );
    }
    if let Some(abi) = &signature.abi {
        errors.at(
            abi,
            "a task has Rust's own calling convention; wrap this function in a plain one",
        );
    }
    if let Some(variadic) = &signature.variadic {
        errors.at(
            variadic,
            "a task has a fixed number of arguments; take a slice instead",
        );
    }
}

/// What it all is made from.
pub(crate) struct Expansion<'a> {
    pub(crate) function: &'a ItemFn,
    pub(crate) options: &'a Options,
    pub(crate) parameters: &'a [Parameter],
    pub(crate) returns: &'a Returns,
    /// Whether it lives in another program.
    pub(crate) is_elsewhere: bool,
}

impl Expansion<'_> {
    pub(crate) fn name(&self) -> &Ident {
        &self.function.sig.ident
    }

    pub(crate) fn arguments(&self) -> impl Iterator<Item = &Argument> {
        self.parameters
            .iter()
            .filter_map(|parameter| match parameter {
                Parameter::Argument(argument) => Some(argument),
                Parameter::Context { .. } => None,
            })
    }

    /// The conditions under which the function exists, which its task shares.
    pub(crate) fn conditions(&self) -> impl Iterator<Item = &Attribute> {
        self.function
            .attrs
            .iter()
            .filter(|attribute| attribute.path().is_ident("cfg"))
    }

    /// The enum that names the task where a type is wanted.
    fn marker(&self) -> TokenStream {
        let (name, vis) = (self.name(), &self.function.vis);
        let docs: Vec<_> = self
            .function
            .attrs
            .iter()
            .filter(|attribute| attribute.path().is_ident("doc"))
            .collect();
        let default = docs.is_empty().then(|| {
            let text = format!("The task [`{0}`]({0}()).", name.unraw());
            quote!(#[doc = #text])
        });
        let conditions = self.conditions();
        quote! {
            #(#conditions)*
            #(#docs)*
            #default
            #[allow(non_camel_case_types, reason = "it is named like its function")]
            #[derive(::core::fmt::Debug)]
            #vis enum #name {}
        }
    }

    /// `NAME::call`.
    fn call(&self) -> TokenStream {
        let (name, vis, core) = (self.name(), &self.function.vis, self.options.core());
        let (parameters, values) = (self.arguments().map(taken), self.arguments().map(given));
        let values = tuple(values);
        let doc = format!(
            "One call of [`{0}`]({0}()), not yet made: send it, or set how it is sent first.",
            name.unraw()
        );
        let conditions = self.conditions();
        quote! {
            #(#conditions)*
            #[automatically_derived]
            impl #name {
                #[doc = #doc]
                #[allow(
                    dead_code,
                    clippy::too_many_arguments,
                    reason = "a task may be called by name alone, and takes what its function takes"
                )]
                #[must_use = "a signature does nothing until it is sent"]
                #vis fn call(#(#parameters),*) -> #core::signature::Signature<Self> {
                    #core::signature::Signature::new(#values)
                }
            }
        }
    }

    /// `NAME::partial`, if there is an argument that can come later.
    fn partial(&self) -> Option<TokenStream> {
        let (name, vis, core) = (self.name(), &self.function.vis, self.options.core());
        let mut arguments = self.arguments();
        let first = arguments.next()?;
        let rest: Vec<_> = arguments.collect();
        let parameters = rest.iter().copied().map(taken);
        let values = if rest.is_empty() {
            // An empty list of some type.
            quote!([(); 0])
        } else {
            tuple(rest.iter().copied().map(given))
        };
        let owned = &first.owned;
        let doc = format!(
            "A call of [`{0}`]({0}()) that takes its first argument, `{1}`, from the step before it.",
            name.unraw(),
            first.name.unraw()
        );
        let conditions = self.conditions();
        let implementation_conditions = self.conditions();
        Some(quote! {
            #(#conditions)*
            #[automatically_derived]
            impl #name {
                #[doc = #doc]
                #[allow(
                    dead_code,
                    clippy::too_many_arguments,
                    reason = "a task may stand first always, and takes what its function takes"
                )]
                #vis fn partial(#(#parameters),*) -> #core::canvas::Partial<Self> {
                    #core::canvas::Step::partial::<Self>(#values)
                }
            }

            #(#implementation_conditions)*
            #[automatically_derived]
            impl #core::canvas::TakesFirst for #name {
                type First = #owned;
            }
        })
    }
}

/// A parameter of `call`: its type, or anything that converts into it.
fn taken(argument: &Argument) -> TokenStream {
    let (name, owned) = (&argument.name, &argument.owned);
    if argument.converts {
        quote!(#name: impl ::core::convert::Into<#owned>)
    } else {
        quote!(#name: #owned)
    }
}

/// The value of such a parameter.
fn given(argument: &Argument) -> TokenStream {
    let name = &argument.name;
    if argument.converts {
        quote!(::core::convert::Into::into(#name))
    } else {
        quote!(#name)
    }
}

/// The arguments together, as a pattern or an expression of type `Args`.
pub(crate) fn tuple<T: ToTokens>(items: impl IntoIterator<Item = T>) -> TokenStream {
    let items: Vec<_> = items.into_iter().collect();
    if items.is_empty() {
        // `()` would travel as null, and Celery wants an empty list.
        quote!([])
    } else {
        quote!((#(#items,)*))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variadic_function_is_refused() {
        // No test of compile errors can show it: on stable, rustc refuses it too.
        let function = quote!(
            unsafe extern "C" fn sum(n: u64, rest: ...) {}
        );
        let expansion = task(TokenStream::new(), &function).to_string();
        for reason in [
            "fixed number of arguments",
            "cannot be `unsafe`",
            "calling convention",
        ] {
            assert!(expansion.contains(reason), "{expansion}");
        }
    }
}
