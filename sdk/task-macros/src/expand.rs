//! From a function to a task.

use crate::attributes::Arguments;
use crate::parameter::{Parameter, description};
use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Ident, ItemFn, ReturnType, Signature, Type};

/// Types whose values have no names, and so cannot be outputs.
const NAMELESS: &[&str] = &[
    "Blob", "Bytes", "String", "Vec", "bool", "char", "f32", "f64", "i8", "i16", "i32", "i64", "isize", "u8", "u16", "u32", "u64", "usize",
    "Option",
];

pub(crate) fn task(arguments: Arguments, mut function: ItemFn) -> syn::Result<TokenStream> {
    check(&function.sig)?;
    let mut errors: Option<syn::Error> = None;
    let mut parameters = Vec::new();
    for argument in &mut function.sig.inputs {
        match Parameter::take(argument) {
            Ok(parameter) => parameters.push(parameter),
            Err(error) => match &mut errors {
                Some(all) => all.combine(error),
                None => errors = Some(error),
            },
        }
    }
    if let Some(errors) = errors {
        return Err(errors);
    }
    let outcome = Outcome::of(&function.sig.output)?;

    let ident = &function.sig.ident;
    let plain = ident.to_string();
    let plain = plain.strip_prefix("r#").unwrap_or(&plain);
    let task = type_name(ident, plain);
    let name = arguments.name.unwrap_or_else(|| plain.replace('_', "-"));
    let version = arguments
        .version
        .map_or_else(|| quote!(::core::env!("CARGO_PKG_VERSION")), |version| quote!(#version));
    let idempotent = arguments.idempotent.unwrap_or(true);
    let deterministic = arguments.deterministic;
    let needs = arguments.needs;
    let about = description(&function.attrs);
    let doc = format!("The task made of [`{plain}`].");
    let visibility = &function.vis;

    let names = parameters.iter().map(Parameter::name);
    let idents: Vec<&Ident> = parameters.iter().map(|parameter| &parameter.ident).collect();
    let describe = parameters.iter().map(Parameter::describe);
    let take = parameters.iter().map(Parameter::take_input);
    let call = outcome.wrapped(quote!(#ident(#(#idents),*)));
    let outcome_type = outcome.ty();
    let schema_of = quote_spanned!(outcome.span=> ::eyot_task::__private::schema_of::<#outcome_type>());

    Ok(quote! {
        #[allow(clippy::too_many_arguments)]
        #function

        #[doc = #doc]
        #visibility struct #task;

        impl ::eyot_task::Task for #task {
            fn describe() -> ::eyot_task::Description {
                #[allow(unused_mut)]
                let mut __schema = ::eyot_task::InputSchema::new(#about);
                #(#describe)*
                ::eyot_task::Description {
                    name: ::std::string::String::from(#name),
                    version: ::std::string::String::from(#version),
                    inputs: __schema.finish(),
                    outputs: #schema_of,
                    idempotent: #idempotent,
                    deterministic: #deterministic,
                    needs: ::std::vec![#(::std::string::String::from(#needs)),*],
                }
            }

            #[allow(unused_mut, clippy::redundant_closure)]
            fn run(mut __inputs: ::eyot_task::Inputs) -> ::core::result::Result<::eyot_task::Outputs, ::eyot_task::Failure> {
                __inputs.only(&[#(#names),*])?;
                #(#take)*
                <#outcome_type as ::eyot_task::Outcome>::into_outputs(#call)
            }
        }

        ::eyot_task::__export!(#task);
    })
}

fn check(signature: &Signature) -> syn::Result<()> {
    let refuse = |span, message| Err(syn::Error::new(span, message));
    if let Some(token) = &signature.asyncness {
        return refuse(
            token.span(),
            "a task is not `async`: the agent runs as many as it has room for at the same time",
        );
    }
    if let Some(token) = &signature.unsafety {
        return refuse(token.span(), "a task is not `unsafe`");
    }
    if !signature.generics.params.is_empty() {
        return refuse(
            signature.generics.span(),
            "a task has no type parameters: its inputs are described by a schema",
        );
    }
    if let Some(dots) = &signature.variadic {
        return refuse(dots.span(), "a task has a fixed number of inputs");
    }
    Ok(())
}

/// `resize_image` gives `ResizeImageTask`.
fn type_name(ident: &Ident, plain: &str) -> Ident {
    let camel: String = plain
        .split('_')
        .flat_map(|word| {
            let mut letters = word.chars();
            letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters)
        })
        .collect();
    format_ident!("{camel}Task", span = ident.span())
}

/// What the function returns.
struct Outcome {
    ty: TokenStream,
    span: proc_macro2::Span,
    fallible: bool,
}

impl Outcome {
    fn of(output: &ReturnType) -> syn::Result<Self> {
        let ty = match output {
            ReturnType::Default => {
                return Ok(Self {
                    ty: quote!(()),
                    span: proc_macro2::Span::call_site(),
                    fallible: false,
                });
            }
            ReturnType::Type(_, ty) => ty,
        };
        let fallible = last_segment(ty).is_some_and(|last| last.ident == "Result");
        let outputs = if fallible { first_argument(ty) } else { Some(&**ty) };
        if let Some(outputs) = outputs
            && let Some(last) = last_segment(outputs)
            && NAMELESS.iter().any(|nameless| last.ident == nameless)
        {
            let message = format!(
                "outputs need names: return a struct with a field of type `{}`, with `#[eyot_task::data]` on it",
                quote!(#outputs)
            );
            return Err(syn::Error::new(outputs.span(), message));
        }
        Ok(Self {
            ty: quote!(#ty),
            span: ty.span(),
            fallible,
        })
    }

    /// The return type as a `Result`.
    fn ty(&self) -> TokenStream {
        let ty = &self.ty;
        if self.fallible {
            quote!(#ty)
        } else {
            quote_spanned!(self.span=> ::eyot_task::__private::Unwrapped<#ty>)
        }
    }

    fn wrapped(&self, call: TokenStream) -> TokenStream {
        if self.fallible {
            call
        } else {
            quote!(::eyot_task::__private::unwrapped(#call))
        }
    }
}

fn last_segment(ty: &Type) -> Option<&syn::PathSegment> {
    match ty {
        Type::Path(path) => path.path.segments.last(),
        _ => None,
    }
}

fn first_argument(ty: &Type) -> Option<&Type> {
    match &last_segment(ty)?.arguments {
        syn::PathArguments::AngleBracketed(arguments) => arguments.args.iter().find_map(|argument| match argument {
            syn::GenericArgument::Type(ty) => Some(ty),
            _ => None,
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use syn::parse_quote;

    fn refusal(function: ItemFn) -> String {
        match task(Arguments::default(), function) {
            Ok(tokens) => panic!("accepted: {tokens}"),
            Err(error) => error.into_iter().map(|e| e.to_string()).collect::<Vec<_>>().join("; "),
        }
    }

    #[test]
    fn mistakes_are_explained() {
        for (function, message) in [
            (
                parse_quote!(
                    fn t(name: &str) {}
                ),
                "inputs are owned: write `String`",
            ),
            (
                parse_quote!(
                    fn t(list: &[u8], image: &Blob) {}
                ),
                "write `Vec<…>`; inputs are owned: write `Blob`",
            ),
            (
                parse_quote!(
                    fn t((a, b): (u8, u8)) {}
                ),
                "an input needs a name",
            ),
            (
                parse_quote!(
                    fn t(&self) {}
                ),
                "a task is a free function",
            ),
            (
                parse_quote!(
                    fn t(image: impl Into<Blob>) {}
                ),
                "not `impl Trait`",
            ),
            (
                parse_quote!(
                    fn t(#[default(3)] n: u8) {}
                ),
                "write `#[default = value]`",
            ),
            (
                parse_quote!(
                    async fn t() {}
                ),
                "not `async`",
            ),
            (
                parse_quote!(
                    fn t<T>(value: T) {}
                ),
                "no type parameters",
            ),
            (
                parse_quote!(
                    fn t() -> Result<String, Failure> {}
                ),
                "return a struct with a field of type `String`",
            ),
            (
                parse_quote!(
                    fn t() -> Vec<u8> {}
                ),
                "outputs need names",
            ),
        ] {
            let found = refusal(function);
            assert!(found.contains(message), "{found}");
        }
    }

    #[test]
    fn arguments_are_checked() {
        let parsed = |text: &str| syn::parse_str::<Arguments>(text).map_err(|e| e.to_string());
        for (text, message) in [
            ("nme = \"x\"", "unknown argument `nme`"),
            ("needs(\"internet\")", "unknown grant `internet`; there are inference"),
            ("name = \"Image\"", "a name has lower-case words"),
            ("name = \"a//b\"", "a name has lower-case words"),
            ("idempotent = 3", "expected boolean"),
        ] {
            let found = parsed(text).err().unwrap_or_default();
            assert!(found.contains(message), "{text}: {found}");
        }
        let arguments = parsed("name = \"plant/find-defects\", idempotent = false, deterministic, needs(\"inference\", \"scratch\")").ok();
        let arguments = arguments.map(|a| (a.name, a.idempotent, a.deterministic, a.needs.len()));
        assert_eq!(arguments, Some((Some("plant/find-defects".to_owned()), Some(false), true, 2)));
    }

    #[test]
    fn the_type_is_named_after_the_function() {
        let ident: Ident = parse_quote!(resize_image);
        assert_eq!(type_name(&ident, "resize_image"), "ResizeImageTask");
    }
}
