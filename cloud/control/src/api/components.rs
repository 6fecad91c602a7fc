//! The registry of components.

use super::body::{Body, Params};
use super::{App, Error, blocking};
use crate::clock;
use crate::store::{self, Change, ComponentRecord, Guard};
use axum::Json;
use axum::extract::State;
use eyot_model::Digest;
use eyot_model::api::{ComponentView, Page, Problem};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Longest description of a component, in bytes.
const DESCRIPTION_LIMIT: usize = 256 << 10;
/// What every WebAssembly binary begins with.
const MAGIC: &[u8; 4] = b"\0asm";

/// An uploaded component, the name it is to go by, and what it says of itself.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ComponentSpec {
    /// `eyot/image`
    name: String,
    /// `major.minor.patch`
    version: String,
    /// Of a blob that was uploaded before.
    digest: Digest,
    #[serde(default)]
    #[schema(value_type = Object)]
    description: serde_json::Value,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    /// Only the versions of this component.
    name: Option<String>,
}

fn view(record: ComponentRecord) -> ComponentView {
    ComponentView {
        name: record.name,
        version: record.version,
        digest: record.digest,
        size: record.size,
        pushed_at: record.pushed_at,
    }
}

/// All versions of all components.
#[utoipa::path(get, path = "/v1/components", tag = "components", params(Filter), responses((status = 200, body = Page<ComponentView>)))]
pub(super) async fn list(State(app): State<App>, Params(filter): Params<Filter>) -> Result<Json<Page<ComponentView>>, Error> {
    let items = app.store.components(filter.name.as_deref()).await?.into_iter().map(view).collect();
    Ok(Json(Page { items, next: None }))
}

/// Gives an uploaded component its name and version. A version never changes its digest.
#[utoipa::path(post, path = "/v1/components", tag = "components", request_body = ComponentSpec,
    responses((status = 200, body = ComponentView), (status = 409, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn register(State(app): State<App>, Body(spec): Body<ComponentSpec>) -> Result<Json<ComponentView>, Error> {
    check_name(&spec.name)?;
    if eyot_spec::Version::parse(&spec.version).is_none() {
        return Err(invalid(format!("version `{}` is not `major.minor.patch`", spec.version)));
    }
    let description = spec.description.to_string();
    if description.len() > DESCRIPTION_LIMIT {
        return Err(invalid(format!("the description is longer than {DESCRIPTION_LIMIT} bytes")));
    }
    let (blobs, digest) = (app.blobs.clone(), spec.digest);
    let size = blocking(move || -> Result<Option<u64>, eyot_blob::Error> {
        if !blobs.contains(&digest) {
            return Ok(None);
        }
        let blob = blobs.open_blob(&digest)?;
        let mut head = [0; 8];
        let read = blob.read_at(0, &mut head).unwrap_or(0);
        // The fifth byte is the version and the seventh the layer: a component has 1 there, a plain module 0. Both run.
        Ok((read == head.len() && head.starts_with(MAGIC)).then(|| blob.size()))
    })
    .await?
    .map_err(|error| Error::internal(&error))?
    .ok_or_else(|| invalid(format!("blob {digest} was not uploaded, or is not WebAssembly")))?;
    let record = ComponentRecord {
        name: spec.name,
        version: spec.version,
        digest,
        size,
        description,
        pushed_at: clock::now(),
    };
    let guard = Guard::ComponentUnchanged {
        name: record.name.clone(),
        version: record.version.clone(),
        digest,
    };
    match app
        .store
        .commit(vec![guard], vec![Change::PutComponent(Box::new(record.clone()))])
        .await
    {
        Ok(()) => {
            app.access.registered([digest]);
            Ok(Json(view(record)))
        }
        Err(store::Error::Guard(_)) => Err(Error::conflict(
            "component.version-exists",
            format!(
                "{}@{} exists with another digest; give the new one a new version",
                record.name, record.version
            ),
        )),
        Err(error) => Err(error.into()),
    }
}

fn invalid(message: String) -> Error {
    Error::invalid("component.invalid", message, Vec::new())
}

fn check_name(name: &str) -> Result<(), Error> {
    if eyot_spec::is_component_name(name) {
        Ok(())
    } else {
        Err(invalid(format!(
            "`{name}` is not a component's name: lower-case words and `-`, with `/` between them"
        )))
    }
}
