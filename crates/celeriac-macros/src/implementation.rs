//! The implementation of `Task` for what `#[task]` stands on.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens as _, format_ident, quote, quote_spanned};
use syn::Ident;
use syn::ext::IdentExt as _;
use syn::spanned::Spanned as _;

use crate::arguments::{Argument, Parameter};
use crate::expand::{Expansion, tuple};
use crate::returns::Returns;

impl Expansion<'_> {
    /// The implementation of `Task`, and its entry in the registry.
    pub(crate) fn task(&self) -> TokenStream {
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
