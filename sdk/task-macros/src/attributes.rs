//! The arguments of `#[task(..)]`.

use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Ident, LitBool, LitStr, Token, parenthesized};

#[derive(Default)]
pub(crate) struct Arguments {
    pub(crate) name: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) idempotent: Option<bool>,
    pub(crate) deterministic: bool,
    pub(crate) needs: Vec<String>,
}

/// Grants of the workflow language.
const GRANTS: &[&str] = &["inference", "scratch", "precise-clock"];

impl Parse for Arguments {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let mut arguments = Self::default();
        while !input.is_empty() {
            let key: Ident = input.parse()?;
            match key.to_string().as_str() {
                "name" => arguments.name = Some(task_name(&value::<LitStr>(input)?)?),
                "version" => arguments.version = Some(value::<LitStr>(input)?.value()),
                "idempotent" => arguments.idempotent = Some(flag(input)?),
                "deterministic" => arguments.deterministic = flag(input)?,
                "needs" => {
                    let list;
                    parenthesized!(list in input);
                    for grant in Punctuated::<LitStr, Token![,]>::parse_terminated(&list)? {
                        if !GRANTS.contains(&grant.value().as_str()) {
                            let message = format!("unknown grant `{}`; there are {}", grant.value(), GRANTS.join(", "));
                            return Err(syn::Error::new(grant.span(), message));
                        }
                        arguments.needs.push(grant.value());
                    }
                }
                other => {
                    let message = format!("unknown argument `{other}`; there are name, version, idempotent, deterministic, needs");
                    return Err(syn::Error::new(key.span(), message));
                }
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(arguments)
    }
}

fn value<T: Parse>(input: ParseStream<'_>) -> syn::Result<T> {
    input.parse::<Token![=]>()?;
    input.parse()
}

/// `idempotent` alone means true.
fn flag(input: ParseStream<'_>) -> syn::Result<bool> {
    if input.peek(Token![=]) {
        Ok(value::<LitBool>(input)?.value)
    } else {
        Ok(true)
    }
}

fn task_name(name: &LitStr) -> syn::Result<String> {
    let text = name.value();
    let fits = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_lowercase())
            && !part.ends_with('-')
            && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    };
    if text.split('/').count() <= 3 && text.split('/').all(fits) {
        Ok(text)
    } else {
        Err(syn::Error::new(
            name.span(),
            "a name has lower-case words and `-`, with `/` between them, such as `plant/find-defects`",
        ))
    }
}
