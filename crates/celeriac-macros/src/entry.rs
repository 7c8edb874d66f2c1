//! What `#[main]` makes of `fn main`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{ItemFn, Path, parse_quote};

use crate::errors::Errors;
use crate::given::{self, Given};

const KNOWN: &given::Known = &[
    ("flavor", r#"flavor = "current_thread""#),
    ("worker_threads", "worker_threads = 4"),
    ("crate", r#"crate = "::celeriac""#),
];

/// The expansion of `#[main]`: a `main` that calls the one written, or compile errors.
pub(crate) fn main(attribute: TokenStream, item: &TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let given = given::parse(attribute, KNOWN, &mut errors);
    let Some(function) = errors.take(syn::parse2::<ItemFn>(item.clone())) else {
        let errors = errors.into_compile_errors();
        return quote!(#item #errors);
    };
    refuse(&function, &given, &mut errors);
    let options = errors.take(Options::read(&given)).unwrap_or_default();
    if let Some(errors) = errors.into_compile_errors() {
        if function.sig.ident == "main" {
            // An `async fn main` left as it is would be one more error.
            return quote!(fn main() {} #errors);
        }
        return quote!(#item #errors);
    }
    expand(&function, &options)
}

fn expand(function: &ItemFn, options: &Options) -> TokenStream {
    let (attributes, vis, signature, body) = (
        &function.attrs,
        &function.vis,
        &function.sig,
        &function.block,
    );
    let krate = options
        .krate
        .clone()
        .unwrap_or_else(|| parse_quote!(::celeriac));
    let returned = if signature.asyncness.is_some() {
        let threads = match options.worker_threads {
            None => quote!(::core::option::Option::None),
            Some(threads) => quote!(::core::option::Option::Some(#threads)),
        };
        let flavor = if options.current_thread {
            quote!(CurrentThread)
        } else {
            quote!(MultiThread(#threads))
        };
        quote! {
            match #krate::__private::block_on(#krate::__private::Flavor::#flavor, main()) {
                ::core::result::Result::Ok(returned) => returned,
                ::core::result::Result::Err(error) => {
                    let error = ::core::result::Result::<(), _>::Err(error);
                    return #krate::__private::exit(error);
                }
            }
        }
    } else {
        quote!(main())
    };
    quote! {
        #(#attributes)*
        #vis fn main() -> ::std::process::ExitCode {
            #signature #body
            let returned = #returned;
            {
                use #krate::__private::kind::{IsOther as _, IsSendable as _};
                (&returned).__exit_kind().exit(returned)
            }
        }
    }
}

fn refuse(function: &ItemFn, given: &[Given], errors: &mut Errors) {
    let signature = &function.sig;
    if signature.ident != "main" {
        errors.at(
            &signature.ident,
            "`#[main]` goes on the program's `main`; name it so, or remove the attribute",
        );
    }
    if !signature.inputs.is_empty() {
        errors.at(
            &signature.inputs,
            "`main` takes no arguments; read them with `std::env::args`",
        );
    }
    if !signature.generics.params.is_empty() {
        errors.at(&signature.generics, "`main` cannot be generic");
    }
    if signature.asyncness.is_none() {
        for option in given.iter().filter(|option| option.key != "crate") {
            errors.at(
                &option.key,
                format!(
                    "`{}` is for the runtime of an `async fn main`; make it one, or remove this",
                    option.key
                ),
            );
        }
    }
}

#[derive(Default)]
struct Options {
    current_thread: bool,
    worker_threads: Option<usize>,
    krate: Option<Path>,
}

impl Options {
    fn read(given: &[Given]) -> syn::Result<Self> {
        let mut options = Self::default();
        for option in given {
            match option.key.to_string().as_str() {
                "crate" => options.krate = Some(option.path()?),
                "flavor" => {
                    options.current_thread = match option.text()?.as_str() {
                        "multi_thread" => false,
                        "current_thread" => true,
                        _ => {
                            return Err(
                                option.error("`flavor` is \"multi_thread\" or \"current_thread\"")
                            );
                        }
                    }
                }
                "worker_threads" => {
                    options.worker_threads = Some(option.number(1, u16::MAX.into())? as usize);
                }
                other => unreachable!("`{other}` is in the table of options but is not read"),
            }
        }
        let threads = given.iter().find(|option| option.key == "worker_threads");
        match threads {
            Some(threads) if options.current_thread => Err(threads.error(
                "a current-thread runtime has no worker threads; remove this or the `flavor`",
            )),
            _ => Ok(options),
        }
    }
}
