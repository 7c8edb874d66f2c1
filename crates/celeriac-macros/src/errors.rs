//! The compile errors of one expansion, gathered so that all are shown at once.

use proc_macro2::TokenStream;
use quote::ToTokens;

/// Compile errors, none at first.
#[derive(Debug, Default)]
pub(crate) struct Errors(Option<syn::Error>);

impl Errors {
    /// Adds one error.
    pub(crate) fn push(&mut self, error: syn::Error) {
        match &mut self.0 {
            Some(errors) => errors.combine(error),
            None => self.0 = Some(error),
        }
    }

    /// Adds the error `message`, shown at `culprit`.
    pub(crate) fn at(&mut self, culprit: impl ToTokens, message: impl std::fmt::Display) {
        self.push(syn::Error::new_spanned(culprit, message));
    }

    /// The value of `result`, or nothing and its error added.
    pub(crate) fn take<V>(&mut self, result: syn::Result<V>) -> Option<V> {
        result.map_err(|error| self.push(error)).ok()
    }

    /// The errors as code that fails to compile; nothing if there is none.
    pub(crate) fn into_compile_errors(self) -> Option<TokenStream> {
        self.0.map(syn::Error::into_compile_error)
    }
}
