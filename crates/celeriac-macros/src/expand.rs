//! What `#[task]` adds beside the function.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt as _;
use syn::spanned::Spanned as _;
use syn::{Attribute, GenericArgument, Ident, ItemFn, PathArguments, ReturnType, Safety, Type};

use crate::arguments::{self, Argument, Parameter};
use crate::elsewhere;
use crate::errors::Errors;
use crate::options::Options;
use crate::pretty::pretty;
use crate::task_type::{bare, last_segment, obstacle};

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

/// What the function returns.
enum Returns {
    Nothing,
    Plain(Type),
    Result(Type),
}

impl Returns {
    fn read(output: &ReturnType, errors: &mut Errors) -> Self {
        let ReturnType::Type(_, ty) = output else {
            return Self::Nothing;
        };
        let ty = bare(ty).clone();
        if let Type::Never(never) = &ty {
            errors.at(
                never,
                "a task must come to an end; return `()` or a `Result`",
            );
        }
        if let Type::Reference(reference) = &ty {
            errors.at(
                reference,
                "what a task returns outlives it; return an owned type, such as `String` for \
                 `&str` or `Vec<T>` for `&[T]`",
            );
            return Self::Plain(ty);
        }
        let is_result = last_segment(&ty).is_some_and(|last| last.ident == "Result");
        let obstacle = if is_result {
            // The error may be any, such as `Box<dyn Error + Send + Sync>`.
            ok_type(&ty).and_then(obstacle)
        } else {
            obstacle(&ty)
        };
        if let Some(message) = obstacle {
            errors.at(&ty, message);
        }
        if is_result {
            Self::Result(ty)
        } else {
            Self::Plain(ty)
        }
    }

    /// ` -> Receipt`, or nothing for `()`.
    fn signature(&self) -> String {
        let value = match self {
            Self::Nothing => return String::new(),
            Self::Plain(ty) => ty,
            Self::Result(ty) => ok_type(ty).unwrap_or(ty),
        };
        match pretty(value).as_str() {
            "()" => String::new(),
            value => format!(" -> {value}"),
        }
    }
}

/// The `T` of a `Result<T, …>`, if it is written there.
fn ok_type(result: &Type) -> Option<&Type> {
    match &last_segment(result)?.arguments {
        PathArguments::AngleBracketed(arguments) => match arguments.args.first()? {
            GenericArgument::Type(ty) => Some(ty),
            _ => None,
        },
        _ => None,
    }
}

struct Expansion<'a> {
    function: &'a ItemFn,
    options: &'a Options,
    parameters: &'a [Parameter],
    returns: &'a Returns,
    /// Whether it lives in another program.
    is_elsewhere: bool,
}

impl Expansion<'_> {
    fn name(&self) -> &Ident {
        &self.function.sig.ident
    }

    fn arguments(&self) -> impl Iterator<Item = &Argument> {
        self.parameters
            .iter()
            .filter_map(|parameter| match parameter {
                Parameter::Argument(argument) => Some(argument),
                Parameter::Context { .. } => None,
            })
    }

    /// The conditions under which the function exists, which its task shares.
    fn conditions(&self) -> impl Iterator<Item = &Attribute> {
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

    /// The implementation of `Task`, and its entry in the registry.
    fn task(&self) -> TokenStream {
        let (name, core, registered) = (self.name(), self.options.core(), self.registered());
        let (definition, types, args, run) =
            (self.definition(), self.types(), self.args(), self.run());
        let conditions = self.conditions();
        quote! {
            #(#conditions)*
            const _: () = {
                #definition

                #[automatically_derived]
                impl #core::task::Task for #name {
                    #types
                    const DEFINITION: &'static #core::task::TaskDefinition = &__DEFINITION;
                    #args
                    #run
                }

                #registered
            };
        }
    }

    /// The entry in the registry, of a task that this program has.
    fn registered(&self) -> Option<TokenStream> {
        let (core, krate) = (self.options.core(), self.options.krate());
        (!self.is_elsewhere).then(|| {
            quote! {
                #[#krate::__private::linkme::distributed_slice(#core::registry::TASKS)]
                #[linkme(crate = #krate::__private::linkme)]
                static __REGISTERED: &'static #core::task::TaskDefinition = &__DEFINITION;
            }
        })
    }

    fn definition(&self) -> TokenStream {
        let (name, core) = (self.name(), self.options.core());
        let task_name = self.task_name();
        let signature = format!(
            "{}({}){}",
            name.unraw(),
            self.arguments()
                .map(Argument::signature)
                .collect::<Vec<_>>()
                .join(", "),
            self.returns.signature()
        );
        let parameters = self
            .arguments()
            .map(|argument| argument.name.unraw().to_string());
        let is_async = self.function.sig.asyncness.is_some();
        let wants_context = self
            .parameters
            .iter()
            .any(|parameter| matches!(parameter, Parameter::Context { .. }));
        let options = self.options.expression();
        quote! {
            #[allow(clippy::needless_update, reason = "every option may be given")]
            static __DEFINITION: #core::task::TaskDefinition = #core::task::TaskDefinition {
                name: #task_name,
                signature: #signature,
                parameters: &[#(#parameters),*],
                is_async: #is_async,
                wants_context: #wants_context,
                options: #options,
                call: #core::task::call_encoded::<#name>,
            };
        }
    }

    /// The name it is sent by: as the option says, or else the function's path with dots.
    fn task_name(&self) -> TokenStream {
        if let Some(name) = &self.options.name {
            return quote!(#name);
        }
        let (core, name) = (self.options.core(), self.name().unraw().to_string());
        quote! {{
            const PATH: &str = ::core::concat!(::core::module_path!(), "::", #name);
            const DOTTED: [u8; #core::expansion::dotted_len(PATH)] = #core::expansion::dotted(PATH);
            match ::core::str::from_utf8(&DOTTED) {
                ::core::result::Result::Ok(name) => name,
                ::core::result::Result::Err(_) => ::core::unreachable!(),
            }
        }}
    }

    fn types(&self) -> TokenStream {
        let core = self.options.core();
        let owned: Vec<_> = self.arguments().map(|argument| &argument.owned).collect();
        let input = if let [one] = &owned[..] {
            one.to_token_stream()
        } else {
            quote!((#(#owned),*))
        };
        let output = match self.returns {
            Returns::Nothing => quote!(()),
            Returns::Plain(ty) => ty.to_token_stream(),
            Returns::Result(ty) => {
                quote_spanned!(ty.span()=> <#ty as #core::expansion::Returned>::Value)
            }
        };
        let args = if owned.is_empty() {
            quote!([(); 0])
        } else {
            // What is wrong with it is shown at the parameters.
            let parameters = self.function.sig.paren_token.span.join();
            let span = parameters.resolved_at(Span::call_site());
            quote_spanned!(span=> (#(#owned,)*))
        };
        quote! {
            type Input = #input;
            type Args = #args;
            type Output = #output;
        }
    }

    fn args(&self) -> TokenStream {
        let (input, args) = match self.arguments().count() {
            0 => (quote!((): Self::Input), quote!([])),
            1 => (quote!(input: Self::Input), quote!((input,))),
            _ => (quote!(input: Self::Input), quote!(input)),
        };
        quote! {
            fn args(#input) -> Self::Args {
                #args
            }
        }
    }

    fn run(&self) -> TokenStream {
        let core = self.options.core();
        let call = self.plain_call();
        let run = if self.function.sig.asyncness.is_some() {
            let outcome = self.outcome(&quote!(#call.await));
            // The future owns the arguments, and the function borrows from it.
            let context = self
                .parameters
                .iter()
                .any(|parameter| matches!(parameter, Parameter::Context { .. }))
                .then(|| quote!(let __context = ::core::clone::Clone::clone(__context);));
            // A future that cannot be sent is shown at the function's name.
            let span = self.name().span().resolved_at(Span::call_site());
            let future = quote_spanned!(span=> ::std::boxed::Box::pin(async move { #outcome }));
            quote! {
                #context
                #core::task::Run::Pending(#future)
            }
        } else {
            let outcome = self.outcome(&call);
            quote!(#core::task::Run::Ready(#outcome))
        };
        let locals = tuple(self.locals());
        quote! {
            #[allow(deprecated, reason = "a deprecated task still runs")]
            fn run(
                #locals: Self::Args,
                __context: &#core::context::Context,
            ) -> #core::task::Run<#core::outcome::Outcome<Self::Output>> {
                #run
            }
        }
    }

    fn locals(&self) -> Vec<Ident> {
        let count = self.arguments().count();
        (0..count)
            .map(|index| format_ident!("__argument_{index}", span = Span::mixed_site()))
            .collect()
    }

    /// The call of the function, with each argument owned or lent as it wants it.
    fn plain_call(&self) -> TokenStream {
        let name = self.name();
        let is_async = self.function.sig.asyncness.is_some();
        let mut locals = self.locals().into_iter();
        let values = self.parameters.iter().map(|parameter| match parameter {
            Parameter::Argument(argument) => {
                let local = locals.next().expect("there is one for each argument");
                if argument.lent {
                    quote!(&#local)
                } else {
                    local.into_token_stream()
                }
            }
            Parameter::Context { lent: true } if is_async => quote!(&__context),
            Parameter::Context { lent: false } if !is_async => {
                quote!(::core::clone::Clone::clone(__context))
            }
            Parameter::Context { .. } => quote!(__context),
        });
        quote!(#name(#(#values),*))
    }

    /// The outcome of what the function returned.
    fn outcome(&self, returned: &TokenStream) -> TokenStream {
        let core = self.options.core();
        let ty = match self.returns {
            Returns::Nothing => {
                return quote!({
                    #returned;
                    ::core::result::Result::Ok(())
                });
            }
            Returns::Plain(_) => return quote!(::core::result::Result::Ok(#returned)),
            Returns::Result(ty) => ty,
        };
        // What is wrong with the error is shown at the return type.
        let span = ty.span().resolved_at(Span::mixed_site());
        let outcome = match &self.options.retry_if {
            None => quote_spanned!(span=> #core::expansion::outcome(returned)),
            Some(retry_if) => {
                quote_spanned!(span=> #core::expansion::outcome_retried_if(returned, #retry_if))
            }
        };
        quote_spanned!(span=> {
            let returned = #returned;
            #outcome
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
fn tuple<T: ToTokens>(items: impl IntoIterator<Item = T>) -> TokenStream {
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
