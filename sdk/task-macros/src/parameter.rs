//! A parameter of the function: one input of the task.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Attribute, Expr, ExprLit, FnArg, Ident, Lit, Meta, Pat, Type};

pub(crate) struct Parameter {
    /// What the code that we make calls it: never the author's name, which may be that of anything else.
    pub(crate) ident: Ident,
    name: String,
    ty: Type,
    description: String,
    presence: Presence,
}

enum Presence {
    Required,
    Optional(Type),
    Default(TokenStream),
}

impl Parameter {
    /// Reads a parameter and takes the attributes off it that are meant for us.
    pub(crate) fn take(argument: &mut FnArg) -> syn::Result<Self> {
        let argument = match argument {
            FnArg::Typed(argument) => argument,
            FnArg::Receiver(receiver) => return Err(syn::Error::new(receiver.span(), "a task is a free function: it has no `self`")),
        };
        let Pat::Ident(pattern) = &*argument.pat else {
            return Err(syn::Error::new(argument.pat.span(), "an input needs a name: write `name: Type`"));
        };
        let ident = pattern.ident.clone();
        if let Type::Reference(reference) = &*argument.ty {
            return Err(syn::Error::new(reference.span(), owned_hint(&reference.elem)));
        }
        if let Type::ImplTrait(generic) = &*argument.ty {
            return Err(syn::Error::new(
                generic.span(),
                "an input needs a type of its own, not `impl Trait`",
            ));
        }
        let ty = (*argument.ty).clone();
        let description = take_description(&mut argument.attrs);
        let presence = match (take_default(&mut argument.attrs, &ty)?, option_of(&ty)) {
            (Some(default), _) => Presence::Default(default),
            (None, Some(inner)) => Presence::Optional(inner),
            (None, None) => Presence::Required,
        };
        let text = ident.to_string();
        let name = text.strip_prefix("r#").unwrap_or(&text).to_owned();
        Ok(Self {
            ident: format_ident!("__input_{name}", span = ident.span()),
            name,
            ty,
            description,
            presence,
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Adds the input to the schema in `__schema`.
    pub(crate) fn describe(&self) -> TokenStream {
        let Self { name, ty, description, .. } = self;
        match &self.presence {
            Presence::Required => quote_spanned! {ty.span()=> __schema.required::<#ty>(#name, #description); },
            Presence::Optional(inner) => quote_spanned! {ty.span()=> __schema.optional::<#inner>(#name, #description); },
            Presence::Default(default) => quote_spanned! {ty.span()=> {
                let __default: #ty = #default;
                __schema.defaulted::<#ty>(#name, #description, &__default);
            } },
        }
    }

    /// Takes the input out of `__inputs`.
    pub(crate) fn take_input(&self) -> TokenStream {
        let Self { name, ty, ident, .. } = self;
        match &self.presence {
            Presence::Required => quote_spanned! {ty.span()=> let #ident = __inputs.take::<#ty>(#name)?; },
            Presence::Optional(inner) => quote_spanned! {ty.span()=> let #ident = __inputs.take_optional::<#inner>(#name)?; },
            Presence::Default(default) => quote_spanned! {ty.span()=> let #ident = __inputs.take_or::<#ty>(#name, || #default)?; },
        }
    }
}

fn owned_hint(referenced: &Type) -> String {
    let name = quote!(#referenced).to_string();
    match name.as_str() {
        "str" => "inputs are owned: write `String`".to_owned(),
        _ if name.starts_with('[') => "inputs are owned: write `Vec<…>`".to_owned(),
        _ => format!("inputs are owned: write `{name}`"),
    }
}

/// The text of the doc comments, which are taken off: Rust does not allow them on parameters.
fn take_description(attributes: &mut Vec<Attribute>) -> String {
    let text = description(attributes);
    attributes.retain(|attribute| !attribute.path().is_ident("doc"));
    text
}

/// The text of the doc comments among `attributes`.
pub(crate) fn description(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value().trim().to_owned()),
            _ => None,
        },
        _ => None,
    });
    lines.collect::<Vec<_>>().join("\n").trim().to_owned()
}

fn take_default(attributes: &mut Vec<Attribute>, ty: &Type) -> syn::Result<Option<TokenStream>> {
    let Some(at) = attributes.iter().position(|attribute| attribute.path().is_ident("default")) else {
        return Ok(None);
    };
    let attribute = attributes.remove(at);
    match attribute.meta {
        Meta::Path(_) => Ok(Some(quote_spanned!(ty.span()=> <#ty as ::core::default::Default>::default()))),
        Meta::NameValue(pair) => {
            let value = pair.value;
            // A text may stand for a `String`.
            if let Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) = &value {
                return Ok(Some(quote_spanned!(text.span()=> ::core::convert::Into::<#ty>::into(#text))));
            }
            Ok(Some(quote!(#value)))
        }
        Meta::List(list) => Err(syn::Error::new(list.span(), "write `#[default = value]` or `#[default]`")),
    }
}

/// `T` where the type is written `Option<T>`.
fn option_of(ty: &Type) -> Option<Type> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last().filter(|last| last.ident == "Option")?;
    let syn::PathArguments::AngleBracketed(arguments) = &last.arguments else {
        return None;
    };
    match arguments.args.first()? {
        syn::GenericArgument::Type(inner) => Some(inner.clone()),
        _ => None,
    }
}
