//! The attributes of `eyot-task`, which re-exports them; not for use on its own.
//!
//! [`macro@task`] makes a task of a function, [`macro@data`] makes a type fit for its inputs and outputs. Mistakes are
//! reported where they stand in the author's code.

mod attributes;
mod expand;
mod parameter;

use proc_macro::TokenStream;
use quote::quote;

/// Makes a task of a function. Each parameter is an input, each field of what it returns is an output.
///
/// For `fn resize(..)` it adds a type `ResizeTask`, which implements `eyot_task::Task` and is the export of the
/// component. The function itself stays as it is.
///
/// Parameters: any type that derives `Deserialize` and `JsonSchema`. `Option<T>` may be missing, `#[default = 80]` and
/// `#[default]` say what a missing one means, doc comments become descriptions in the schema.
///
/// Arguments, all optional: `name = "…"` (as in the registry; else the function's name with dashes), `version = "…"` (else the crate's),
/// `idempotent = false` (running it twice does harm), `deterministic` (same inputs, same outputs), `needs("inference")`
/// (grants that it cannot do without).
#[proc_macro_attribute]
pub fn task(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let arguments = syn::parse_macro_input!(arguments as attributes::Arguments);
    let function = syn::parse_macro_input!(item as syn::ItemFn);
    expand::task(arguments, function)
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Makes a struct or enum fit for inputs and outputs: derives `Serialize`, `Deserialize` and `JsonSchema`, without the
/// author's crate depending on `serde` and `schemars`. Attributes of both may be used on it.
#[proc_macro_attribute]
pub fn data(arguments: TokenStream, item: TokenStream) -> TokenStream {
    if !arguments.is_empty() {
        return syn::Error::new(proc_macro2::Span::call_site(), "`data` takes no arguments")
            .into_compile_error()
            .into();
    }
    let item = proc_macro2::TokenStream::from(item);
    quote! {
        #[derive(::eyot_task::serde::Serialize, ::eyot_task::serde::Deserialize, ::eyot_task::schemars::JsonSchema)]
        #[serde(crate = "::eyot_task::serde")]
        #[schemars(crate = "::eyot_task::schemars")]
        #item
    }
    .into()
}
