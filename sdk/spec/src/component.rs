//! What the checks need to know of components.

use eyot_model::Digest;

/// A component that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComponentInfo {
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// JSON Schema of an object with the inputs; null where the component does not say.
    pub inputs: serde_json::Value,
    /// JSON Schema of an object with the outputs; null where the component does not say.
    pub outputs: serde_json::Value,
    pub idempotent: bool,
    /// Grants that it cannot do without.
    pub needs: Vec<String>,
}

/// The components that a workflow may use.
pub trait Components {
    /// What `uses` names: `eyot/image@1`, `./path.wasm`, `name@b3:…`.
    fn resolve(&self, name: &str) -> Option<ComponentInfo>;

    /// Names to suggest where one is unknown.
    fn names(&self) -> Vec<String>;

    /// Whether components are checked at all. Where not, any well-formed name will do and stays unresolved.
    fn checked(&self) -> bool {
        true
    }
}

/// No registry at hand: names are taken as they are, and inputs and outputs of components are not checked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unchecked;

impl Components for Unchecked {
    fn resolve(&self, _: &str) -> Option<ComponentInfo> {
        None
    }

    fn names(&self) -> Vec<String> {
        Vec::new()
    }

    fn checked(&self) -> bool {
        false
    }
}
