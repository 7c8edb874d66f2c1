//! A task without a body: it lives in another program, and this one only calls it.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{ForeignItemFn, ItemFn};

use crate::errors::Errors;
use crate::options::Options;

/// The function that stands here for one that ends in a semicolon; `None` if `item` is none such.
pub(crate) fn function(
    item: &TokenStream,
    options: &Options,
    errors: &mut Errors,
) -> Option<ItemFn> {
    let declared: ForeignItemFn = syn::parse2(item.clone()).ok()?;
    if options.name.is_none() {
        errors.at(
            &declared.sig.ident,
            "a task without a body lives in another program; say the name it has there, as in \
             `#[task(name = \"shop.charge\")]`, or give it a body",
        );
    }
    let name = options.name.as_deref().unwrap_or_default();
    let text = format!("`{name}` has no body here: it lives in another program, behind a broker");
    let mut head: Vec<_> = item.clone().into_iter().collect();
    // The semicolon.
    head.pop();
    let head: TokenStream = head.into_iter().collect();
    syn::parse2(quote! {
        #[allow(
            unused_variables,
            clippy::needless_pass_by_value,
            clippy::panic,
            clippy::unused_async,
            reason = "it runs in another program"
        )]
        #head {
            ::core::panic!("{}", #text)
        }
    })
    .ok()
}

#[cfg(test)]
mod tests {
    use quote::quote;

    fn expanded(attribute: proc_macro2::TokenStream) -> String {
        crate::expand::task(
            attribute,
            &quote!(
                fn charge(order: u64) -> bool;
            ),
        )
        .to_string()
    }

    #[test]
    fn a_task_without_a_body_is_not_registered() {
        let text = expanded(quote!(name = "shop.charge"));
        assert!(!text.contains("distributed_slice"), "{text}");
        assert!(!text.contains("compile_error"), "{text}");
        let own = crate::expand::task(
            quote!(),
            &quote!(
                fn charge() {}
            ),
        )
        .to_string();
        assert!(own.contains("distributed_slice"), "{own}");
    }

    #[test]
    fn a_task_without_a_body_has_a_name() {
        let text = expanded(quote!());
        assert!(text.contains("say the name it has there"), "{text}");
    }
}
